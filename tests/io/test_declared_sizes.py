"""A small file that would unpack to gigabytes is refused before it is read."""

import h5py
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearid.data.released import ReleasedTable
from nearid.errors import UserError
from nearid.io import tables


def test_a_parquet_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_SMALL_BYTES", 1 << 20)
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"a": [bytes(4 << 20)]}), path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 20_000
    with pytest.raises(UserError, match="when unpacked"):
        tables.read_table(path)


def in_picture(values):
    return pa.StructArray.from_arrays([values, pa.nulls(len(values), pa.string())], ["bytes", "path"])


def in_list(values):
    return pa.ListArray.from_arrays(list(range(len(values) + 1)), values)


@pytest.mark.parametrize("held", [lambda values: values, in_picture, in_list])
def test_a_value_that_stands_for_thousands_is_refused_before_it_is_repeated(tmp_path, monkeypatch, held):
    monkeypatch.setattr(tables, "MAX_SMALL_BYTES", 1 << 20)
    value = pa.array([bytes(50_000), b"short"], pa.binary())
    path = tmp_path / "train.parquet"
    for many, fits in (([0] * 4000, False), ([1] * 4000 + [0], True)):
        repeated = pa.DictionaryArray.from_arrays(pa.array(many, pa.int32()), value)
        table = pa.table({"id": range(len(many)), "a": held(repeated)})
        pq.write_table(table, path, compression="zstd", store_schema=False)
        assert path.stat().st_size < 60_000
        if fits:
            assert len(tables.read_table(path)) == len(ReleasedTable(tmp_path).column("a")) == 4001
            continue
        for read in (lambda: tables.read_table(path), lambda: ReleasedTable(tmp_path)):
            with pytest.raises(UserError, match="when unpacked"):
                read()


def test_a_number_that_stands_for_millions_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_SMALL_BYTES", 1 << 20)
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"a": pa.nulls(10_000_000, pa.int64())}), path)
    assert path.stat().st_size < 20_000
    with pytest.raises(UserError, match="when unpacked"):
        ReleasedTable(tmp_path)


def test_keys_longer_than_their_file_are_refused(tmp_path):
    from nearid.tokens.shard import FORMAT
    from nearid.tokens.store import TokenStore

    path = tmp_path / "000.h5"
    with h5py.File(path, "w") as shard:
        shard.attrs.update({"format": FORMAT, "complete": True, "n": 0})
        shard.create_dataset("tokens", (0, 2, 2), "f2", chunks=(1, 2, 2), maxshape=(None, 2, 2))
        for name in ("ids", "slots", "variants", "crc32"):
            shard.create_dataset(name, (1 << 34,), "i8", chunks=(1 << 16,))
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match="bytes of keys"):
        TokenStore([path])
