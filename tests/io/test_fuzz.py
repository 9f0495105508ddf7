"""Damaged pictures, masks, ratings: read, or named in four lines; never a traceback."""

import io
import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nearid.errors import UserError
from nearid.io.images import ImageError, decode_mask, decode_rgb
from nearid.scores.ratings import read_ratings

QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def saved(form):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker"
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, exif=exif)
    return buffer.getvalue()


FILES = {form: saved(form) for form in ("PNG", "JPEG", "WEBP", "TIFF")}
CHANGES = st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("decode", [decode_rgb, decode_mask])
@given(changes=CHANGES, cut=st.floats(0.1, 1))
@QUICK
def test_pictures(form, decode, changes, cut):
    content = bytearray(FILES[form])
    for place, value in changes:
        content[int(place * len(content))] = value
    try:
        pixels = decode(bytes(content[: int(cut * len(content))]))
    except ImageError:
        return
    assert pixels.size


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(content=VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
@QUICK
def test_ratings(tmp_path, content):
    path = tmp_path / "ratings.json"
    path.write_bytes(content)
    with suppress(UserError):
        assert len(read_ratings(path)) == len(json.loads(content))


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a": 1' + b"0" * 400 + b"}", b"\xff\xfe{", b"\xef\xbb\xbf[1]"])
def test_ratings_that_break_readers(tmp_path, content):
    path = tmp_path / "ratings.json"
    path.write_bytes(content)
    with pytest.raises(UserError):
        read_ratings(path)
