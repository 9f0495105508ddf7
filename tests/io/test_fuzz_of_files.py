"""List files, HDF5 and Parquet headers with bytes changed or cut: read, or told in four lines; memory stays bounded."""

import io
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearid.data.released import ReleasedTable
from nearid.errors import UserError
from nearid.io.sheets import decode_text
from nearid.io.tables import IMAGE, read_table
from nearid.release.pairs import read_pairs
from nearid.tokens.store import KEY, TokenStore, write_shard

HELD = {"deadline": None, "derandomize": True, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
# Changes by the end they are counted from, since Parquet's header stands at the end.
CHANGES = st.lists(st.tuples(st.integers(-400, 600), st.integers(0, 255)), min_size=1, max_size=6)
CUTS = st.just(1.0) | st.floats(0.01, 1)
MORE_BYTES = 1_000_000_000


@pytest.fixture
def bounded():
    """Sees to it that no read takes over a gigabyte more than is taken now."""
    taken = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 <= max(before, taken + MORE_BYTES)


def changed(content, changes, cut):
    told = bytearray(content)
    for place, value in changes:
        told[place % len(told)] = value
    return bytes(told[: max(1, int(cut * len(told)))])


def parquet():
    pictures = pa.array([{"bytes": bytes(range(200)), "path": None}] * 3, IMAGE)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2, 3], "name": ["a", "b", "b"], "images1": pictures}), buffer)
    return buffer.getvalue()


def shard(folder):
    keys = np.zeros(3, KEY)
    keys["id"] = range(3)
    blocks = [np.ones((3, 2, 4), np.float16)]
    write_shard(folder / "whole.h5", keys, blocks, (2, 4), {"content_key": "k", "inputs": "{}"})
    return (folder / "whole.h5").read_bytes()


def check_parquet(folder, content):
    (folder / "train.parquet").write_bytes(content)
    for read in (lambda: read_table(folder / "train.parquet"), lambda: list(ReleasedTable(folder).blocks(["id"]))):
        try:
            read()
        except UserError:
            continue


def check_shard(folder, content):
    (folder / "000.h5").write_bytes(content)
    try:
        store = TokenStore([folder / "000.h5"])
    except UserError:
        return
    store.close()


def check_list(folder, content):
    try:
        lines = decode_text(content, "list", names=True).split("\n")
        pairs = read_pairs(lines, "list")
    except UserError:
        return
    assert len(pairs) == sum(bool(line.rstrip("\r\n").strip()) for line in lines), "a line is lost"


CASES = {"parquet": (lambda folder: parquet(), check_parquet), "hdf5": (shard, check_shard)}
LISTS = st.binary(max_size=80) | st.lists(
    st.sampled_from(["a.png", "b c.jpg", '"', ",", ";", "\t", "\n", "\r\n", "\ufeff", "é", "\0", "\u2028"]), max_size=20
).map(lambda parts: "".join(parts).encode())


@pytest.mark.parametrize("kind", CASES)
@given(changes=CHANGES, cut=CUTS)
@settings(max_examples=80, **HELD)
def test_headers(tmp_path, bounded, kind, changes, cut):
    make, check = CASES[kind]
    check(tmp_path, changed(make(tmp_path), changes, cut))


@given(content=LISTS)
@settings(max_examples=200, **HELD)
def test_lists(tmp_path, content):
    check_list(tmp_path, content)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
@given(changes=CHANGES, cut=CUTS)
@settings(max_examples=300, **HELD)
def test_many_headers(tmp_path, bounded, kind, changes, cut):
    make, check = CASES[kind]
    check(tmp_path, changed(make(tmp_path), changes, cut))


@pytest.mark.slow
@given(content=LISTS)
@settings(max_examples=5000, **HELD)
def test_many_lists(tmp_path, content):
    check_list(tmp_path, content)
