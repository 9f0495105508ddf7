"""List files, HDF5 and Parquet headers with bytes changed or cut: read, or told in four lines; memory stays bounded."""

import io
import itertools
import math
import os
import resource
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nearid.data.released import ReleasedTable
from nearid.errors import UserError
from nearid.io.images import FORMATS, decode_mask, decode_rgb
from nearid.io.sheets import decode_text
from nearid.io.tables import IMAGE, read_table
from nearid.release.pairs import read_pairs
from nearid.scores.judging.reading import read_answer
from nearid.tokens.shard import KEY
from nearid.tokens.store import TokenStore
from nearid.tokens.writer import write_shard

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
    try:
        list(ReleasedTable(folder).blocks(["id"]))
    except UserError:
        return
    with suppress(UserError):
        read_table(folder / "train.parquet")


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


def check_picture(folder, content):
    for decode in (decode_rgb, decode_mask):
        with suppress(UserError):
            assert decode(content).size


def check_answer(folder, content):
    reading = read_answer(content.decode(errors="replace"))
    assert math.isnan(reading.similarity) or 0 <= reading.similarity <= 1


def test_a_header_at_which_arrow_ends_the_process_is_told(tmp_path):
    """A column that is not there in no row, says one byte of the schema; Arrow's C++ has no way out but `abort`."""
    optional = b"\x02\x18\x05bytes"
    assert parquet().count(optional) == 1
    (tmp_path / "train.parquet").write_bytes(parquet().replace(optional, b"{\x18\x05bytes"))
    with pytest.raises(UserError, match="what it says of a column"):
        list(ReleasedTable(tmp_path).blocks(["id"]))


def picture(form):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, form, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0", **OPTIONS.get(form, {}))
    return buffer.getvalue()


OPTIONS = {"JPEG": {"progressive": True}, "TIFF": {"compression": "tiff_lzw"}}
ANSWER = (
    b'Sure: ```json {"match_cues": ["a \\u00e9"], "background_used": false, "score": 7.5e0} ``` [{},{"score":"3/10"}]'
)
LONG_CASES = CASES | {
    "picture": (lambda folder: [picture(form) for form in FORMATS], check_picture),
    "answer": (lambda folder: ANSWER, check_answer),
    "list": (lambda folder: b'a.png,"b c.png"\nd.png\te.png\r\n', check_list),
}


def damaged(content, random):
    """`content` with some bytes changed, repeated, taken out or cut off."""
    told = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 4, 16])):
        place, length = random.randrange(len(told) + 1), random.choice([1, 1, 2, 4, 30])
        told[place : place + length] = random.choice(
            [
                random.randbytes(length),
                b"",
                bytes(told[place : place + length]) * random.choice([2, 3, 200]),
                b"\xff" * length,
                random.choice([b"{", b"[", b'"', b"'", b"\\", b"\0"]) * length,
            ]
        )
    return bytes(told[: random.randrange(len(told) + 1)] if random.random() < 0.2 else told) or b"\0"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", LONG_CASES)
def test_damage_of_all_kinds(tmp_path, bounded, kind):
    """The first 200 damages, or for NEARID_FUZZ_S seconds new ones; the seed is in the error."""
    make, check = LONG_CASES[kind]
    made = make(tmp_path)
    whole = made if isinstance(made, list) else [made]
    seconds = float(os.environ.get("NEARID_FUZZ_S", "0"))
    end = time.monotonic() + seconds
    for seed in (
        itertools.takewhile(lambda _: time.monotonic() < end, itertools.count(time.time_ns()))
        if seconds
        else range(200)
    ):
        random = Random(seed)
        content = damaged(random.choice(whole), random)
        began = time.monotonic()
        try:
            check(tmp_path, content)
        except Exception as error:
            raise AssertionError(f"{kind}, seed {seed}: {error!r}") from error
        assert time.monotonic() - began < 60, f"{kind}, seed {seed}: it took over a minute"
