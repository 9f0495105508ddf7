"""Similarities of many pairs of image files, each file embedded once."""

from __future__ import annotations

import csv
import glob
import io
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nearid.errors import UserError
from nearid.io.progress import track
from nearid.io.sheets import LEFTOVERS, plain_cell, printable
from nearid.release.pictures import SUFFIXES

logger = logging.getLogger(__name__)

Pair = tuple[str, str]

_OTHERS = {".heic": "HEIC", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JPEG XL", ".jp2": "JPEG 2000"}
_OTHERS |= dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2"), "a camera's raw form")
_OTHERS |= {".svg": "SVG", ".eps": "PostScript", ".psd": "Photoshop's form", ".pdf": "PDF", ".exr": "OpenEXR"}


class ImageEmbedder(Protocol):
    """The part of a model that scoring needs."""

    batch_size: int

    def prepare(self, image: str) -> Any:
        """The network's input for an image file; called from several threads."""

    def embed_prepared(self, pixels: Sequence[Any]) -> NDArray[np.float32]:
        """Unit vectors `[images, dim]` of outputs of `prepare`."""


@dataclass(frozen=True)
class Scored:
    """A pair of files and its cosine; None if an image could not be read, for the reason in `problem`."""

    reference: str
    candidate: str
    similarity: float | None
    problem: str = ""


def find_images(where: str, stdin: Iterable[str] = ()) -> list[str]:
    """The image files that `where` names, sorted: a file, a folder with all below it, a glob, or `-` for `stdin`.

    Raises:
        UserError: there is none.
    """
    if where == "-":
        found = [line.strip() for line in stdin if line.strip()]
    elif Path(where).is_dir():
        found, skipped = _walk(where)
        for path in skipped:
            logger.warning("%s: skipped, %s", printable(path), _why_skipped(path))
    elif Path(where).is_file():
        found = [where]
    else:
        # Path.glob takes no absolute patterns.
        found = sorted(path for path in glob.glob(where, recursive=True) if Path(path).is_file())  # noqa: PTH207
    if not found:
        raise UserError(
            where, "no images", f"a file, a folder or a glob of {', '.join(sorted(SUFFIXES))}", "check the path"
        )
    return found


def pair_all(references: Sequence[str], candidates: Sequence[str]) -> list[Pair]:
    """Every candidate with every reference."""
    return [(reference, candidate) for candidate in candidates for reference in references]


def pair_by_name(references: str, candidates: str, stdin: Iterable[str] = ()) -> list[Pair]:
    """Files of two folders whose paths below them are equal except for the suffix.

    Raises:
        UserError: a file of either has no partner, or two.
    """
    sides = [_by_stem(folder, find_images(folder, stdin)) for folder in (references, candidates)]
    alone = sorted(sides[0].keys() ^ sides[1].keys())
    if alone:
        raise UserError(
            f"{references}, {candidates}",
            f"{len(alone)} files without a partner, first {alone[0]!r}",
            "the same names in both folders",
            "complete them, or compare all with all (--pairs all)",
        )
    return [(sides[0][stem], sides[1][stem]) for stem in sorted(sides[0])]


def read_pairs(lines: Iterable[str], where: str) -> list[Pair]:
    """Pairs from lines of two paths with a tab, a comma or a semicolon between them.

    Raises:
        UserError: a line holds no two paths.
    """
    pairs = []
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        # A tab is hardly ever in a name, a semicolon sometimes.
        cuts = [cut for sign in ("\t", ",", ";") if len(cut := _cut(text, sign)) == 2 and all(cut)]
        if not cuts:
            raise UserError(
                f"{where}, line {number}",
                repr(text[:200]),
                "two paths, with a tab, a comma or a semicolon between them",
                "correct the line; a path that holds one of these stands in double quotes",
            )
        pairs.append((cuts[0][0], cuts[0][1]))
    return pairs


def score_pairs(pairs: Sequence[Pair], model: ImageEmbedder) -> list[Scored]:
    """Cosines of `pairs`, in their order; every file is opened and embedded once."""
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    vectors: dict[str, NDArray[np.float32]] = {}
    problems: dict[str, str] = {}
    size = model.batch_size
    batches = [names[start : start + size] for start in range(0, len(names), size)]
    with ThreadPoolExecutor(2) as pool:
        for batch in track(batches, "embed", len(batches)):
            # Little is kept of a batch: the pixels of a large picture are freed once it is prepared.
            opened = list(zip(batch, pool.map(partial(_try_prepare, model), batch), strict=True))
            problems |= {name: found for name, found in opened if isinstance(found, str)}
            good = [(name, found) for name, found in opened if not isinstance(found, str)]
            for name, vector in _embed(model, good).items():
                if isinstance(vector, str):
                    problems[name] = vector
                else:
                    vectors[name] = vector
    return [_compare(pair, vectors, problems) for pair in pairs]


def format_csv(rows: Sequence[Scored]) -> str:
    """`rows` as CSV with a header."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(Scored)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        shown = "" if row.similarity is None else f"{row.similarity:.6f}"
        texts = {name: plain_cell(printable(getattr(row, name))) for name in ("reference", "candidate", "problem")}
        writer.writerow({**texts, "similarity": shown})
    return stream.getvalue()


def format_json(rows: Sequence[Scored]) -> str:
    """`rows` as a JSON list."""
    texts = ("reference", "candidate", "problem")
    told = [{**asdict(row), **{name: printable(getattr(row, name)) for name in texts}} for row in rows]
    return json.dumps(told, indent=2) + "\n"


def _walk(folder: str) -> tuple[list[str], list[str]]:
    """Pictures below `folder`, and pictures in formats that are not read; links to folders are followed once each."""
    found, skipped, seen = [], [], set()
    for root, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in LEFTOVERS)
        for name in files:
            path, suffix = str(Path(root, name)), Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if suffix in SUFFIXES and Path(path).is_file():
                found.append(path)
            elif suffix in SUFFIXES or suffix in _OTHERS:
                skipped.append(path)
    return sorted(found), sorted(skipped)


def _why_skipped(path: str) -> str:
    if not Path(path).is_file():
        return "a link to nowhere, a pipe or a device, and no file"
    kind = _OTHERS[Path(path).suffix.lower()]
    return f"a picture in {kind}, which is not read: save it as JPEG or PNG"


def _cut(text: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter, strict=True), [])]
    except csv.Error:
        return []


def _try_prepare(model: ImageEmbedder, name: str) -> Any:
    """The model's input, or an error's text."""
    try:
        return model.prepare(name)
    except UserError as error:
        return error.found


def _embed(model: ImageEmbedder, prepared: Sequence[tuple[str, Any]]) -> dict[str, NDArray[np.float32] | str]:
    """The vector of each name, or an error's text: an image that the model refuses does not affect the others."""
    if not prepared:
        return {}
    try:
        vectors = model.embed_prepared([image for _, image in prepared])
    except UserError as error:
        if len(prepared) == 1:
            return {prepared[0][0]: error.found}
        return {name: found for one in prepared for name, found in _embed(model, [one]).items()}
    return dict(zip((name for name, _ in prepared), vectors, strict=True))


def _compare(pair: Pair, vectors: dict[str, NDArray[np.float32]], problems: dict[str, str]) -> Scored:
    wrong = [f"{name}: {problems[name]}" for name in dict.fromkeys(pair) if name in problems]
    if wrong:
        return Scored(*pair, None, "; ".join(wrong))
    return Scored(*pair, float(vectors[pair[0]] @ vectors[pair[1]]))


def _by_stem(folder: str, files: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for stem, file in _stems(folder, files):
        if stem in found:
            raise UserError(folder, f"{found[stem]} and {file}", "one file per name", "remove one of them")
        found[stem] = file
    return found


def _stems(folder: str, files: Sequence[str]) -> Iterator[tuple[str, str]]:
    for file in files:
        below = Path(file).relative_to(folder) if Path(folder).is_dir() else Path(Path(file).name)
        yield str(below.with_suffix("")), file
