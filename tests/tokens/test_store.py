"""Token shards: every reader gets what was written, and damage is never taken for data."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest

from nearid.errors import UserError
from nearid.tokens.shard import KEY
from nearid.tokens.store import TokenStore
from nearid.tokens.writer import write_shard

SHAPE = (5, 8)
ORIGIN = {"backbone": "tiny", "weights_hash": "w", "preprocess_hash": "p", "content_key": "c"}


def make_keys(first, count):
    return np.array([(first + i // 4, i // 2 % 2, (b"full", b"fg")[i % 2]) for i in range(count)], KEY)


def make_tokens(seed, count):
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(np.float16)


def write(path, first=0, count=12, **attributes):
    tokens = make_tokens(first, count)
    write_shard(path, make_keys(first, count), [tokens[:5], tokens[5:]], SHAPE, ORIGIN | attributes)
    return tokens


@pytest.fixture
def shards(tmp_path):
    paths = [tmp_path / "000.h5", tmp_path / "001.h5"]
    return paths, np.concatenate([write(path, first) for path, first in zip(paths, (0, 100), strict=True)])


def read_in_process(store, indices):
    return store.read(indices)


def test_read_gathers_any_order_from_many_shards(shards):
    paths, tokens = shards
    store = TokenStore(paths)
    order = [23, 0, 7, 7, 12, 11]
    assert store.read(order).tobytes() == tokens[order].tobytes()
    buffer = np.empty((8, *SHAPE), np.float16)
    assert np.shares_memory(store.read(order, out=buffer), buffer)
    assert buffer[:6].tobytes() == tokens[order].tobytes()
    assert store.read([]).shape == (0, *SHAPE)
    assert store.content_keys == dict.fromkeys(paths, "c")


def test_find_follows_the_keys(shards):
    paths, _ = shards
    store = TokenStore(paths)
    for position, (id, slot, variant) in enumerate(store.keys.tolist()):
        assert store.find(id, slot, variant.decode()) == position
    assert not store.contains(0, 2, "full")
    with pytest.raises(UserError, match="slot 2"):
        store.find(0, 2, "full")
    with pytest.raises(IndexError):
        store.read([-1])


def test_shard_is_plain_hdf5(shards):
    paths, tokens = shards
    with h5py.File(paths[0]) as shard:
        assert shard["tokens"][()].tobytes() == tokens[:12].tobytes()
        assert shard["tokens"].chunks == (1, *SHAPE)
        assert shard.attrs["complete"] and shard.attrs["n"] == 12 and shard.attrs["content_key"] == b"c"
        chunks = []
        shard["tokens"].id.chunk_iter(chunks.append)
        assert all(chunk.byte_offset % 4096 == 0 for chunk in chunks)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same_bytes(shards, method):
    paths, tokens = shards
    store = TokenStore(paths)
    store.read([0, 20])  # files are open before the fork
    orders = [np.random.default_rng(i).permutation(24) for i in range(8)]
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
        for order, result in zip(orders, pool.map(read_in_process, [store] * 8, orders), strict=True):
            assert result.tobytes() == tokens[order].tobytes()
    assert store.read([3]).tobytes() == tokens[[3]].tobytes()


def test_threads_read_the_same_bytes(shards):
    paths, tokens = shards
    store = TokenStore(paths)
    orders = [np.random.default_rng(i).permutation(24) for i in range(20)]
    with ThreadPoolExecutor(4) as pool:
        for order, result in zip(orders, pool.map(store.read, orders), strict=True):
            assert result.tobytes() == tokens[order].tobytes()


def test_equal_content_gives_equal_bytes(tmp_path):
    write(tmp_path / "a.h5")
    tokens = make_tokens(0, 12)
    write_shard(tmp_path / "b.h5", make_keys(0, 12), iter(tokens[:, None]), SHAPE, ORIGIN)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_empty_shard_adds_nothing(tmp_path, shards):
    write_shard(tmp_path / "002.h5", make_keys(0, 0), [], SHAPE, ORIGIN)
    assert len(TokenStore([tmp_path / "002.h5"])) == 0
    assert len(TokenStore([*shards[0], tmp_path / "002.h5"])) == 24


def test_one_flipped_byte_is_found(tmp_path):
    """Wherever it is, reading everything gives the right bytes and keys, or an error."""
    path = tmp_path / "000.h5"
    tokens = write(path)
    whole = bytearray(path.read_bytes())
    keys, refused = make_keys(0, 12), 0
    with h5py.File(path) as shard:
        offset = shard["tokens"].id.get_chunk_info(4).byte_offset
    rng = np.random.default_rng(0)
    text = whole.index(b"nearid-tokens-1")  # outside of HDF5's checksummed metadata, a flip beside it hung the reader
    places = [offset, offset + 79, *range(text - 32, text + 32, 4), *rng.integers(len(whole), size=100)]
    for place in places:
        damaged = whole.copy()
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        try:
            store = TokenStore([path])
            store.verify()
        except UserError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            assert store.read(range(12)).tobytes() == tokens.tobytes() and (store.keys == keys).all()
    path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
    store = TokenStore([path])
    assert store.read([3, 5]).tobytes() == tokens[[3, 5]].tobytes()
    with pytest.raises(UserError, match="damaged tokens of id 1, slot 0, variant 'full'"):
        store.read([4])
    assert refused >= 2


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_cut_off_shard_is_refused(tmp_path, kept):
    path = tmp_path / "000.h5"
    write(path)
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(UserError, match=r"000\.h5"):
        TokenStore([path])


def spoil(path, **attributes):
    with h5py.File(path, "r+") as shard:
        shard.attrs.update(attributes)


def test_unfit_shards_are_refused(tmp_path, shards):
    paths, _ = shards
    with pytest.raises(UserError, match="no such file"):
        TokenStore([tmp_path / "absent.h5"])
    with pytest.raises(UserError, match="a key twice"):
        TokenStore([paths[0], paths[0]])
    write(tmp_path / "other.h5", first=300, weights_hash="other")
    with pytest.raises(UserError, match="'weights_hash': 'other'"):
        TokenStore([paths[0], tmp_path / "other.h5"])
    spoil(paths[0], complete=False)
    with pytest.raises(UserError, match="never completed"):
        TokenStore(paths)
    spoil(paths[1], format=np.bytes_(b"nearid-tokens-0"))
    with pytest.raises(UserError, match="nearid-tokens-0"):
        TokenStore(paths[1:])
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(UserError, match="not a whole HDF5 file"):
        TokenStore([tmp_path / "text.h5"])


def test_writer_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="2 images for 12 keys"):
        write_shard(tmp_path / "000.h5", make_keys(0, 12), [make_tokens(0, 2)], SHAPE, ORIGIN)
    assert not list(tmp_path.iterdir())


def test_killed_writer_leaves_no_shard(tmp_path):
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_store import *
def blocks():
    for tokens in make_tokens(0, 12):
        yield tokens[None]
        print("block", flush=True)
        time.sleep(0.01)
write_shard({str(tmp_path / "000.h5")!r}, make_keys(0, 12), blocks(), SHAPE, ORIGIN)
"""
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    for _ in range(6):
        assert writer.stdout.readline() == b"block\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert not (tmp_path / "000.h5").exists()
    tokens = write(tmp_path / "000.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["000.h5"]  # the stray private file is removed
    assert TokenStore([tmp_path / "000.h5"]).read(range(12)).tobytes() == tokens.tobytes()
