"""Tables and lists as people's programs write them: byte order marks, semicolons, tabs, short rows.

Ambiguous text is refused rather than guessed: a wrong guess would silently change rows.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from nearid.errors import UserError

DELIMITERS = (",", ";", "\t")
MAX_BYTES = 1 << 30
LEFTOVERS = ("@eaDir", "__MACOSX")
"""Folders in which systems keep thumbnails and leftovers of pictures; ignored like hidden folders."""
_MARKS = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SAVE = "save it as CSV in UTF-8 (in a spreadsheet: CSV UTF-8), one row per line"


def decode_text(content: bytes, where: object, names: bool = False) -> str:
    """Text in UTF-8, or in UTF-16 after a byte order mark.

    Args:
        content: the file's bytes.
        where: the file, for the error.
        names: whether it has paths, which may be in any encoding and are decoded by `os.fsdecode`.

    Raises:
        UserError: it is in another encoding, which could not be identified without a mark.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        for mark, encoding in _MARKS:
            if content.startswith(mark):
                return content[len(mark) :].decode(encoding)
        text = os.fsdecode(content) if names else content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{where}, line {line}", "bytes that are no UTF-8", "text in UTF-8", _SAVE) from error
    if "\0" in text:
        raise UserError(where, "zero bytes", "text in UTF-8, or UTF-16 behind a byte order mark", _SAVE)
    return text


def read_text(path: Path) -> str:
    """The text of a file (`decode_text`).

    Raises:
        UserError: there is no such file, it has more than `MAX_BYTES`, or is in another encoding.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError
        if (size := path.stat().st_size) > MAX_BYTES:
            raise UserError(path, f"{size:,} bytes", f"a table of at most {MAX_BYTES:,}", "is it the right file?")
        return decode_text(path.read_bytes(), path)
    except OSError as error:
        raise UserError(path, error.strerror or "no such file", "a table", "correct the path") from error


def read_rows(text: str, where: object, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line, stripped cells) of each row that is not empty.

    Raises:
        UserError: quotes are not closed.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    end = 0
    while True:
        start = end + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{where}, line {start}", str(error), "cells whose quotes close", _SAVE) from error
        if row is None:
            return
        end = reader.line_num
        if any(cells := [cell.strip() for cell in row]):
            yield start, cells


def read_sheet(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> list[dict[str, str]]:
    """Rows of a table with a header, as mappings from columns in lower case; cells that a row lacks are empty.

    The header determines whether cells are separated by commas, semicolons or tabs. Other columns are left out.

    Args:
        path: the table.
        needed: columns whose cells must not be empty.
        optional: columns that may be missing.

    Raises:
        UserError: no table, another header, or a row with an empty needed cell or too many cells.
    """
    text = read_text(path).lstrip("\r\n")
    shown = ",".join(needed) + "".join(f"[,{name}]" for name in optional)
    first_line = next(iter(text.splitlines()), "")
    delimiters = [sign for sign in DELIMITERS if set(needed) <= set(_cut_header(first_line, sign))]
    if len(delimiters) != 1:
        raise UserError(path, f"the header {first_line[:80]!r}", shown, "correct its first line")
    (_, head), *rows = read_rows(text, path, delimiters[0])
    head = [cell.lower() for cell in head]
    wanted = [*needed, *optional]
    if twice := [name for name in wanted if head.count(name) > 1]:
        raise UserError(path, f"two columns {twice[0]!r}", shown, "correct its first line")
    result = []
    for line, cells in rows:
        if any(cells[len(head) :]):
            raise UserError(
                f"{path}, line {line}",
                f"{len(cells)} cells under {len(head)} columns",
                "text that holds the separator in double quotes",
                "put quotes around it",
            )
        row = dict(zip(head, cells, strict=False))
        for name in needed:
            if not row.get(name):
                raise UserError(f"{path}, line {line}", f"no {name}", shown, "fill in the cell, or remove the line")
        result.append({name: row.get(name, "") for name in wanted})
    return result


def _cut_header(line: str, delimiter: str) -> list[str]:
    with suppress(UserError):
        return [cell.lower() for _, cells in read_rows(line, "", delimiter) for cell in cells]
    return []


def one_line(text: str) -> str:
    """`printable(text)` as one cell of a tab-separated file: line breaks and tabs become blanks."""
    return re.sub(r"[\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]", " ", printable(text))


def printable(text: str) -> str:
    """`text` with bytes of a file name that are no UTF-8 written in hexadecimal."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def plain_cell(text: str) -> str:
    """`text` as a cell that no spreadsheet reads as a formula: with an apostrophe before `=`, `+`, `-`, `@`."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
