"""The SynCD release (docs/protocol.md 1.1): JSON records, JPEG views, and renders on black that serve as masks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearid.data.records import ASSET, RIGID, SCORES, TEXT, Dropped, Identity, Scores, View
from nearid.errors import UserError
from nearid.io.downloads import UNPACKED
from nearid.io.files import read_json
from nearid.io.hashing import hash_file, hash_json
from nearid.io.images import decode_grey, decode_rgb
from nearid.io.sheets import read_rows, read_text

if TYPE_CHECKING:
    from nearid.config.schema.dataset import SyncdData

_SCORED = "metadata_with_scores.json"
_PLAIN = "metadata.json"
_TEXT_KEYS = ("category_description", "description", "caption")
RIGID_CATEGORY = "rigid"
Record = dict[str, Any]


class Dataset:
    """SynCD's rigid objects, after the filtering protocol (docs/protocol.md 1.2).

    Args:
        options: `path` of the unpacked release; `ids` numbers the rigid records (`rigid`) or all (`release`);
            `captions`: a CSV of asset id and text, for records without a text of their own; `min_dino`, `max_dino`
            and `min_aesthetics`: SynCD's own filter by scores, 0 is off (its author suggests .7 and 6 as minima).
        seed: unused.

    Raises:
        UserError: no such folder, no metadata in it, or metadata that cannot be read.
    """

    def __init__(self, options: SyncdData, seed: int) -> None:
        del seed
        self._options = options
        self._root = Path(options.path)
        if not self._root.is_dir():
            raise UserError(
                "dataset.syncd.path",
                f"{options.path!r} is no folder",
                "the unpacked release",
                "fetch it, or correct the path",
            )

    def names(self) -> list[str]:
        """`syncd_000000`, …, by the record's position in the release."""
        return [f"syncd_{place:06d}" for place in range(len(self._records))]

    def fingerprint(self) -> str:
        """Hash of the metadata and captions; the pictures, a hundred thousand files, are assumed to belong to them."""
        captions = Path(self._options.captions) if self._options.captions else None
        return hash_json([hash_file(path) for path in [*self._metadata, *([captions] if captions else [])]])

    def load(self, index: int) -> tuple[Identity | None, list[Dropped]]:
        """The record at `index` with its decoded views, None if the protocol drops it."""
        folder, record = self._records[index]
        name = self.names()[index]
        asset = record.get("objaverse_id") or ""
        text = self._find_text(record, asset)
        if record.get("category") != RIGID_CATEGORY:
            reason = f"category {record.get('category')!r}: only rigid objects have an asset and a text"
            return None, [Dropped(name, "", reason, RIGID)]
        if not asset:
            return None, [Dropped(name, "", "no asset id", ASSET)]
        if not text:
            return None, [Dropped(name, "", "no foreground text", TEXT)]
        scores = _read_scores(record)
        positions, dropped = self._cut(record, scores, name)
        if self._has_cut and len(positions) < 2:
            return None, [*dropped, Dropped(name, "", f"{len(positions)} views above SynCD's scores", SCORES)]
        views: list[View] = []
        for position in positions:
            try:
                views.append(_read_view(self._find(folder, record["filenames"][position]), record, position))
            except UserError as error:
                dropped.append(Dropped(name, record["filenames"][position], error.found))
        released = {"objaverse_id": asset}
        number = self._ids[index] if self._options.ids == "rigid" else index
        return Identity(number, name, "rigid", text, tuple(views), scores, released), dropped

    @cached_property
    def _metadata(self) -> list[Path]:
        """The metadata files, sorted; where a set has one with scores and one without, the one with scores."""
        scored = sorted(self._root.rglob(f"*{_SCORED}"))
        twins = {path.with_name(path.name.replace(_SCORED, _PLAIN)) for path in scored}
        files = sorted([*scored, *(path for path in self._root.rglob(f"*{_PLAIN}") if path not in twins)])
        if not files:
            raise UserError(
                self._root, f"no *{_PLAIN} and no *{_SCORED}", "SynCD's metadata", "unpack the release's archives here"
            )
        return files

    @cached_property
    def _records(self) -> list[tuple[Path, Record]]:
        records = []
        for path in self._metadata:
            try:
                content = read_json(path)
            except ValueError as error:
                raise UserError(path, f"no JSON ({error})", "a list of records", "fetch the release again") from error
            if not isinstance(content, list):
                raise UserError(path, type(content).__name__, "a list of records", "fetch the release again")
            records += [(path.parent, record) for record in content]
        self._check_texts(record for _, record in records)
        return records

    def _check_texts(self, records: Iterable[Record]) -> None:
        """Raise UserError if no rigid object has a text: the curation would drop them all."""
        rigid = [record for record in records if record.get("category") == RIGID_CATEGORY]
        if rigid and not any(self._find_text(record, record.get("objaverse_id") or "") for record in rigid):
            captions = self._options.captions
            of_them = f"nor has {captions} one of their ids" if captions else "and dataset.syncd.captions is empty"
            raise UserError(
                f"SynCD's metadata in {self._root}",
                f"none of {len(rigid)} rigid records has a text ({', '.join(_TEXT_KEYS)}), {of_them}",
                "a description of each object, which distractors are painted from",
                "set dataset.syncd.captions: resources/cap3d/misc/Cap3D_automated_Objaverse_old.csv",
            )

    def _find(self, folder: Path, file: str) -> Path:
        """Path of a record's picture: where archives beside its metadata were unpacked, else beside its metadata."""
        unpacked = self._root / UNPACKED / folder.relative_to(self._root) / file
        return unpacked if unpacked.is_file() else folder / file

    @cached_property
    def _ids(self) -> list[int]:
        rigid = np.array([record.get("category") == "rigid" for _, record in self._records])
        numbers: list[int] = (np.cumsum(rigid) - 1).tolist()
        return numbers

    @cached_property
    def _captions(self) -> dict[str, str]:
        if not self._options.captions:
            return {}
        try:
            path = Path(self._options.captions)
            # Texts may hold unquoted commas; ids hold none, so all that follows the first comma is the text.
            return {cells[0]: ",".join(cells[1:]).strip() for _, cells in read_rows(read_text(path), path, ",")}
        except UserError as error:
            raise UserError(
                "dataset.syncd.captions",
                f"{error.where}: {error.found}",
                "a CSV file of asset id and text",
                "correct the path or the file",
            ) from error

    def _find_text(self, record: Record, asset: str) -> str:
        own = next((record[key] for key in _TEXT_KEYS if record.get(key)), "")
        return (own or self._captions.get(asset, "")).strip()

    @property
    def _has_cut(self) -> bool:
        return any((self._options.min_dino, self._options.max_dino, self._options.min_aesthetics))

    def _cut(self, record: Record, scores: Scores | None, name: str) -> tuple[list[int], list[Dropped]]:
        """Positions of the views that pass SynCD's own filter: good aesthetics, and similar to another view."""
        count = len(record["filenames"])
        if not self._has_cut or scores is None:
            return list(range(count)), []
        kept, dropped = [], []
        most = self._options.max_dino or math.inf
        for at in range(count):
            pairs = [scores.dino[min(at, other)][max(at, other)] or 0 for other in range(count) if other != at]
            likeness = [likeness for likeness in pairs if likeness <= most]
            beauty = scores.aesthetics[at] or 0
            if max(likeness, default=0) >= self._options.min_dino and beauty >= self._options.min_aesthetics:
                kept.append(at)
            else:
                reason = f"SynCD's scores: aesthetics {beauty:.2f}, DINO at most {max(likeness, default=0):.2f}"
                dropped.append(Dropped(name, record["filenames"][at], reason))
        return kept, dropped


def _read_scores(record: Record) -> Scores | None:
    if "dino_scores" not in record or "aesthetics_scores" not in record:
        return None
    aesthetics = [record["aesthetics_scores"].get(Path(file).stem) for file in record["filenames"]]
    return Scores(aesthetics, record["dino_scores"])


def _read_view(picture: Path, record: Record, position: int) -> View:
    mask_file = picture.parent / "masks" / f"{picture.stem}.jpg"
    for path in (picture, mask_file):
        if not path.is_file():
            kind = "view" if path == picture else "mask"
            raise UserError(path, f"no such {kind} file", "a file of the release", "unpack the release again")
    image = decode_rgb(picture)
    prompt, file = record["prompts"][position], record["filenames"][position]
    return View(image, _fit(decode_grey(mask_file), image), prompt, file, position)


def _fit(mask: NDArray[np.uint8], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask at the size of its view, resized as SynCD's own loader does."""
    height, width = image.shape[:2]
    if mask.shape == (height, width):
        return mask
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
