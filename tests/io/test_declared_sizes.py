"""A small file that would unpack to gigabytes is refused before it is read."""

import h5py
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearid.errors import UserError
from nearid.io import tables


def test_a_parquet_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_SMALL_BYTES", 1 << 20)
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"a": [bytes(4 << 20)]}), path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 20_000
    with pytest.raises(UserError, match="when unpacked"):
        tables.read_table(path)


def test_keys_longer_than_their_file_are_refused(tmp_path):
    from nearid.tokens.store import FORMAT, TokenStore

    path = tmp_path / "000.h5"
    with h5py.File(path, "w") as shard:
        shard.attrs.update({"format": FORMAT, "complete": True, "n": 0})
        shard.create_dataset("tokens", (0, 2, 2), "f2", chunks=(1, 2, 2), maxshape=(None, 2, 2))
        for name in ("ids", "slots", "variants", "crc32"):
            shard.create_dataset(name, (1 << 34,), "i8", chunks=(1 << 16,))
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match="bytes of keys"):
        TokenStore([path])
