"""Pictures from anywhere: a closed list of formats, bounded sizes, odd metadata, one error for all that is wrong."""

import ast
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from nearid.errors import UserError
from nearid.io import images
from nearid.io.images import (
    MAX_PIXELS,
    ImageError,
    UnpreparedError,
    decode_grey,
    decode_mask,
    decode_rgb,
    encode_png,
    prepare_picture,
)

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT.parent / "shared/cases"
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
# Names what it starts, so that a test sees whether it was.
GHOSTSCRIPT = "#!/bin/sh\ntouch {}\n"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"


def saved(form, **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(*chunks):
    """A whole PNG with `chunks` behind its header."""
    content = encode_png(PIXELS)
    return content[:33] + b"".join(chunks) + content[33:]


def jpeg_with(marker, data):
    return b"\xff\xd8\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data + saved("JPEG")[2:]


def exif(*entries, extra=b""):
    ifd = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + ifd + struct.pack("<I", 0) + extra


TURNED = (0x0112, 3, 1, struct.pack("<HH", 6, 0))


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG"])
def test_the_listed_formats_are_read(form):
    options = {"lossless": True} if form == "WEBP" else {"quality": 100} if form in ("AVIF", "JPEG") else {}
    found = decode_rgb(saved(form, **options))
    assert found.shape == PIXELS.shape
    if form in ("PNG", "WEBP", "TIFF", "BMP"):
        assert np.array_equal(found, PIXELS)


@pytest.mark.parametrize("name", ["picture.eps", "picture.png", "picture.jpg"])
@pytest.mark.parametrize("decode", [decode_rgb, decode_grey, decode_mask])
def test_no_other_program_is_started(decode, name, tmp_path, monkeypatch):
    (tmp_path / "gs").write_text(GHOSTSCRIPT.format(tmp_path / "started"))
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    (tmp_path / name).write_bytes(EPS)
    for source in (EPS, tmp_path / name, b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 30, len(EPS)) + b"\0" * 18 + EPS):
        with pytest.raises(ImageError, match="unknown format"):
            decode(source)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("form", ["PCX", "TGA", "ICNS", "PPM", "SGI", "ICO", "JPEG2000", "DDS", "PDF", "IM"])
def test_what_is_not_listed_is_refused_whatever_its_name(form, tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(saved(form))
    with pytest.raises(ImageError, match=r"unknown format[\s\S]*PNG, JPEG, WEBP"):
        decode_rgb(path)


@pytest.mark.parametrize("form", images.FORMATS)
def test_cut_and_changed_pictures_are_one_error(form):
    content, rng = saved(form), np.random.default_rng(1)
    for _ in range(150):
        broken = bytearray(content[: rng.integers(1, len(content) + 1)])
        for place in rng.integers(0, len(broken), 4):
            broken[place] = rng.integers(256)
        try:
            assert decode_rgb(bytes(broken)).ndim == 3
        except ImageError as error:
            assert error.found.startswith("no readable image (") and "\n" not in error.found


def test_the_error_names_record_and_reason(tmp_path):
    for source, where, found in (
        (b"", "shard 3, id 7", "unknown format"),
        (tmp_path / "none.png", tmp_path / "none.png", "No such file"),
        (tmp_path, tmp_path, "not a file"),
        (encode_png(PIXELS)[:60], "an image", "truncated"),
    ):
        with pytest.raises(UserError, match=found) as caught:
            decode_rgb(source, "" if where in (source, "an image") else where)
        assert caught.value.where == str(where)


def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "view.jpg")
    with pytest.raises(ImageError, match="not a file"):
        decode_rgb(tmp_path / "view.jpg")


LONG = zlib.compress(b"A" * (2 << 20))
ODD_PNG = {
    "long text": chunk(b"zTXt", b"c\0\0" + LONG),
    "long international text": chunk(b"iTXt", b"c\0\1\0\0\0" + LONG),
    "long profile": chunk(b"iCCP", b"c\0\0" + LONG),
    "no profile": chunk(b"iCCP", b"c\0\0zzz"),
    "raw profile without digits": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 20\nzzzz"),
    "raw profile without lines": chunk(b"tEXt", b"Raw profile type exif\0x"),
    "text with a wrong checksum": chunk(b"tEXt", b"a\0b")[:-1] + b"?",
    "EXIF of nothing": chunk(b"eXIf", b""),
    "EXIF with a wrong checksum": chunk(b"eXIf", exif(TURNED)[6:])[:-1] + b"?",
    "short dots per inch": chunk(b"pHYs", b"1"),
    "short gamma": chunk(b"gAMA", b"1"),
    "short animation": chunk(b"acTL", b"1"),
}


@pytest.mark.parametrize("odd", ODD_PNG.values(), ids=ODD_PNG)
def test_a_png_with_whole_pixels_is_read(odd):
    assert np.array_equal(decode_rgb(png_with(odd)), PIXELS)


def test_a_png_keeps_its_turn_beside_odd_text():
    content = png_with(ODD_PNG["long text"], chunk(b"eXIf", exif(TURNED)[6:]))
    assert np.array_equal(decode_rgb(content), np.rot90(PIXELS, -1))


ODD_EXIF = {
    "negative over zero": exif(TURNED, (0x011A, 10, 1, struct.pack("<I", 38)), extra=struct.pack("<ii", -1, 0)),
    "number as text": exif(TURNED, (0x010F, 4, 1, struct.pack("<I", 5)), (0x0131, 12, 1, struct.pack("<I", 50))),
    "pointer to itself": exif(TURNED, (0x8769, 4, 1, struct.pack("<I", 8))),
    "pointer to nowhere": exif(TURNED, (0x8825, 4, 1, struct.pack("<I", 99_999))),
    "text as pointer": exif(TURNED, (0x8825, 2, 4, b"abc\0")),
    "cut off": exif(TURNED, (0x010F, 2, 400, struct.pack("<I", 40)))[:40],
}


@pytest.mark.parametrize("odd", ODD_EXIF.values(), ids=ODD_EXIF)
def test_a_jpeg_keeps_its_turn_beside_odd_exif(odd):
    plain = decode_rgb(saved("JPEG"))
    assert np.array_equal(decode_rgb(jpeg_with(0xE1, odd)), np.rot90(plain, -1))


@pytest.mark.parametrize(
    "marker, data",
    [
        (0xE1, b"Exif\0\0"),
        (0xE1, b"Exif\0\0garbage"),
        (0xE1, exif((0x0112, 2, 4, b"6\0\0\0"))),
        (0xE1, exif((0x0112, 3, 1, struct.pack("<HH", 99, 0)))),
        (0xE1, exif((0x0112, 3, 0, b"\0\0\0\0"))),
        (0xE2, b"MPF\0II*\0garbage"),
        (0xE2, b"ICC_PROFILE\0\1\2short"),
        (0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04"),
        (0xE0, b"JFIF\0"),
        (0xFE, b""),
    ],
)
def test_a_jpeg_with_whole_pixels_is_read(marker, data):
    assert np.array_equal(decode_rgb(jpeg_with(marker, data)), decode_rgb(saved("JPEG")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_pictures_are_turned_as_pillow_turns_them(orientation, form):
    described = Image.Exif()
    described[0x0112] = orientation
    content = saved(form, exif=described)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    assert np.array_equal(decode_rgb(content), np.asarray(expected))


@pytest.mark.skipif(not CASES.is_dir(), reason="the small cases of ../shared are not here")
def test_the_small_cases_are_read():
    paths = [path for path in sorted(CASES.iterdir()) if path.suffix in (".jpg", ".png")]
    assert paths and all(decode_rgb(path).ndim == 3 for path in paths)


def test_strips_give_what_the_whole_gives(monkeypatch):
    rng = np.random.default_rng(2)
    alpha = Image.fromarray(rng.integers(0, 256, (37, 20, 4), np.uint8))
    grey16 = Image.fromarray(rng.integers(0, 1 << 16, (37, 20), np.uint16))
    palette = Image.fromarray(rng.integers(0, 256, (37, 20, 3), np.uint8)).quantize(7)
    palette.info["transparency"] = 3
    for picture in (alpha, grey16, palette):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        whole = decode_rgb(buffer.getvalue()), decode_grey(buffer.getvalue())
        with monkeypatch.context() as patched:
            patched.setattr(images, "STRIP_PIXELS", 100)
            parts = decode_rgb(buffer.getvalue()), decode_grey(buffer.getvalue())
        assert all(np.array_equal(*pair) for pair in zip(whole, parts, strict=True))


def large_png(width, height):
    """A few hundred kilobytes that are a whole black picture."""
    stream = zlib.compressobj(9)
    rows = b"".join(stream.compress(bytes(1 + 3 * width)) for _ in range(height)) + stream.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff_of_tiles(side):
    """A small picture whose one tile is said to be `side` x `side`."""
    entries = [
        (256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (277, 1), (322, side), (323, side), (324, 200), (325, 9),
    ]  # fmt: skip
    ifd = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + ifd + struct.pack("<I", 0)
    return head.ljust(200, b"\0") + zlib.compress(bytes(9))


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 3_000, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", b""),
        b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, *[0] * 6),
        b"GIF89a"
        + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, 9, 9, 0)
        + b"\2",
        tiff_of_tiles(60_000),
    ],
    ids=["png", "bmp", "gif", "tiles"],
)
def test_declared_sizes_are_bounded(content):
    with pytest.raises(ImageError, match=r"px are allowed|decompression bomb"):
        decode_rgb(content)


def many_scans():
    """A picture of a kilobyte or so with its last scan 20,000 times: each takes as long as all pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (2000, 1000)).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    # A comment that looks like the end of the picture is none.
    scan = b"\xff\xfe\x00\x04\xff\xd9" + content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + scan * 20_000 + b"\xff\xd9"


def test_a_jpeg_of_endless_scans_is_refused():
    with pytest.raises(ImageError, match="scans of 2000 x 1000"):
        decode_rgb(many_scans())


class Processor:
    """An image processor that says what it would make; it must not be asked to."""

    def __init__(self, **sizes):
        self.__dict__ |= sizes

    def __call__(self, *arguments, **options):
        raise AssertionError("memory is taken for it")


@pytest.mark.parametrize(
    "sizes",
    [
        {"size": {"height": 60_000, "width": 60_000}},
        {"size": {"shortest_edge": 224}},
        {"size": {"shortest_edge": 10_000}, "crop_size": {"height": 224, "width": 224}},
        {"size": {"height": 2, "width": 2}, "crop_size": {"height": 10_000, "width": 10_000}},
    ],
)
def test_what_a_processor_would_make_is_bounded_before_it_does(sizes):
    with pytest.raises(UnpreparedError, match="of this picture"):
        prepare_picture(Processor(**sizes), Image.new("L", (80_000, 10)))


PROGRAM = """
import sys
from nearid.config.settings.tokens import BackboneSettings
from nearid.tokens.backbones import load_backbone
from nearid.release.model import IdentityModel
from nearid.release.pairs import pair_all, score_pairs
from pathlib import Path
import nearid
path = str(Path(nearid.__file__).parent / "demo/siglip")
settings = BackboneSettings(kind="siglip", path=path, revision="", precision="float32", batch_size=32)
backbone = load_backbone(settings)
model = IdentityModel(lambda pixels: backbone.pooled(backbone.encode(pixels)), backbone.processor)
rows = score_pairs(pair_all(sys.argv[1:], sys.argv[1:]), model)
assert all(row.similarity > 0.99 for row in rows), rows
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1000)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_six_large_pictures_lie_in_memory_one_by_one(tmp_path):
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for file in files:
        file.write_bytes(large_png(8_900, 8_900))
        assert file.stat().st_size < 300_000 and MAX_PIXELS > 8_900**2
    peaks = [subprocess.check_output([sys.executable, "-c", PROGRAM, *map(str, files[:n])], text=True) for n in (0, 6)]
    # One picture in the copies that the processor makes of it; six side by side took three gigabytes.
    assert int(peaks[1]) - int(peaks[0]) < 1_200, peaks


def test_pictures_are_opened_in_one_place():
    for path in (ROOT / "src/nearid").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("open", "imread", "imdecode", "imreadmulti"):
                owner = getattr(node.value, "id", "")
                assert owner not in ("Image", "cv2", "plt", "imageio") or path.name == "images.py", path
