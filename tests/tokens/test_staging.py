"""Copies on a local disk and in memory: the same bytes, and the shard itself when a copy is gone."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_store import SHAPE, make_keys, write

from nearid.errors import UserError
from nearid.tokens import store as module
from nearid.tokens.staging import reading_options
from nearid.tokens.store import TokenStore


@pytest.fixture
def shards(tmp_path):
    paths = [tmp_path / "network" / name for name in ("000.h5", "001.h5")]
    tokens = np.concatenate([write(path, first) for path, first in zip(paths, (0, 100), strict=True)])
    return paths, tokens


def copies(folder):
    return sorted(path for path in folder.rglob("*.h5"))


def test_staged_shards_are_read_and_used_again(shards, tmp_path):
    paths, tokens = shards
    store = TokenStore(paths, staging=tmp_path / "local")
    made = copies(tmp_path / "local")
    assert len(made) == 2
    assert store.read(range(24)).tobytes() == tokens.tobytes()
    # The copy is read, so the network may go away.
    paths[1].rename(tmp_path / "away.h5")
    fresh = TokenStore(paths[:1], staging=tmp_path / "local")
    paths[0].rename(tmp_path / "away_too.h5")
    assert fresh.read(range(12)).tobytes() == tokens[:12].tobytes()
    assert store.read(range(24)).tobytes() == tokens.tobytes()


def test_a_copy_is_made_again_when_its_shard_changes(shards, tmp_path):
    paths, _ = shards
    TokenStore(paths, staging=tmp_path / "local")
    times = [path.stat().st_ino for path in copies(tmp_path / "local")]
    TokenStore(paths, staging=tmp_path / "local")
    assert [path.stat().st_ino for path in copies(tmp_path / "local")] == times
    tokens = write(paths[0], first=500)
    store = TokenStore(paths[:1], staging=tmp_path / "local")
    assert store.read(range(12)).tobytes() == tokens.tobytes()


@pytest.mark.parametrize("spoil", [shutil.rmtree, lambda folder: [path.write_bytes(b"cut") for path in copies(folder)]])
def test_a_copy_that_vanishes_or_breaks_is_left_and_said(shards, tmp_path, caplog, spoil):
    paths, tokens = shards
    store = TokenStore(paths, staging=tmp_path / "local")
    spoil(tmp_path / "local")
    orders = [np.random.default_rng(number).permutation(24) for number in range(8)]
    with ThreadPoolExecutor(4) as threads:
        for order, read in zip(orders, threads.map(store.read, orders), strict=True):
            assert read.tobytes() == tokens[order].tobytes()
    assert f"{paths[0]} is read instead" in caplog.text


def test_damage_of_the_shard_itself_stays_an_error(shards, tmp_path):
    paths, tokens = shards
    content = paths[0].read_bytes()
    at = content.index(tokens[4].tobytes())
    paths[0].write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(UserError, match="damaged tokens of id 1, slot 0, variant 'full'"):
        TokenStore(paths, staging=tmp_path / "local").read([4])


def test_without_room_the_shard_is_read_where_it_is(shards, tmp_path, caplog):
    paths, tokens = shards
    local = tmp_path / "local"
    local.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", local], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        store = TokenStore(paths, staging=local)
        assert store.read(range(24)).tobytes() == tokens.tobytes()
        assert "it is read where it is" in caplog.text
        subprocess.run(["mount", "-o", "remount,ro", local], check=True)
        with pytest.raises(UserError, match="NEARID_STAGING"):
            TokenStore(paths, staging=local)
    finally:
        subprocess.run(["umount", "--lazy", local], check=True)


def test_memory_holds_what_fits_and_gives_the_same(shards):
    paths, tokens = shards
    size = 2 * int(np.prod(SHAPE))
    store = TokenStore(paths, ram_bytes=10 * size + 1)
    assert store.read(range(24)).tobytes() == tokens.tobytes()
    for path in paths:
        path.write_bytes(b"")  # through the open descriptors: what is still read correctly comes from memory
    assert store.read(range(10)).tobytes() == tokens[:10].tobytes()
    with pytest.raises(UserError, match="damaged"):
        store.read([10])


def test_large_reads_are_shared_by_threads(shards, monkeypatch):
    paths, tokens = shards
    monkeypatch.setattr(module, "SHARED_BYTES", 1)
    store = TokenStore(paths)
    order = np.random.default_rng(0).permutation(24)
    assert store.read(order).tobytes() == tokens[order].tobytes()
    assert store.read([5]).tobytes() == tokens[[5]].tobytes()
    assert (store.keys[:12] == make_keys(0, 12)).all()


def test_the_machine_says_how_it_wants_to_read(tmp_path):
    assert reading_options({}) == {"staging": None, "ram_bytes": 0}
    told = reading_options({"NEARID_STAGING": str(tmp_path), "NEARID_TOKENS_RAM_GB": "1.5"})
    assert told == {"staging": tmp_path, "ram_bytes": 1_500_000_000}
    with pytest.raises(UserError, match="NEARID_TOKENS_RAM_GB"):
        reading_options({"NEARID_TOKENS_RAM_GB": "much"})
