"""Removes text, EXIF and profiles, which are often malformed, from encoded PNG and JPEG files."""

from __future__ import annotations

import re
import zlib

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_EXIF = b"Exif\0\0"
# Among pixel data, 0xff is followed by 0 or the number of a restart; with anything else it is a marker.
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_ALONE = (0x01, 0xD8)  # markers without a length
_SCAN, _END = 0xDA, 0xD9


def strip_metadata(content: bytes, keep_exif: bool) -> bytes:
    """`content` without anything that its pixels do not need; if it is neither PNG nor JPEG, it is returned unchanged.

    Args:
        content: an encoded picture.
        keep_exif: whether to keep EXIF, which may have the orientation.
    """
    if content.startswith(_PNG):
        return _strip_png(content, keep_exif)
    return _strip_jpeg(content, keep_exif) if content.startswith(_JPEG) else content


def count_scans(content: bytes) -> int:
    """Number of scans of a JPEG file; each covers all pixels, but takes only a few bytes."""
    place = scans = 0
    while found := _MARKER.search(content, place):
        marker, place = found[1][0], found.end()
        if marker == _END:
            break
        scans += marker == _SCAN
        if marker not in _ALONE:
            place += int.from_bytes(content[place : place + 2], "big")
    return scans


def _strip_png(content: bytes, keep_exif: bool) -> bytes:
    kept, place = [_PNG], len(_PNG)
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        kind, end = content[place + 4 : place + 8], place + 12 + length
        # A lower-case name means that the chunk is optional; transparency is needed for the pixels all the same.
        optional = kind[:1].islower() and kind != b"tRNS"
        whole = int.from_bytes(content[end - 4 : end], "big") == zlib.crc32(content[place + 4 : end - 4])
        if not optional or (keep_exif and kind == b"eXIf" and whole):
            kept.append(content[place:end])
        place = end
    return b"".join(kept)


def _strip_jpeg(content: bytes, keep_exif: bool) -> bytes:
    kept, place = [_JPEG], len(_JPEG)
    while content[place : place + 1] == b"\xff" and place + 4 <= len(content):
        marker, end = content[place + 1], place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        if marker == 0xDA:  # the pixels begin
            break
        # APP14 defines the colours; the other APP segments and comments do not.
        optional = marker == 0xFE or (0xE0 <= marker <= 0xEF and marker != 0xEE)
        if not optional or (keep_exif and marker == 0xE1 and content[place + 4 : place + 10] == _EXIF):
            kept.append(content[place:end])
        place = end
    return b"".join([*kept, content[place:]])
