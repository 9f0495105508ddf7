"""Stand-ins of released data sets: SynCD's archives, Parquet of NearID and Mind-the-Glitch (docs/protocol.md 1, 2)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nearid.data.schema import DISTRACTORS, MTG, POSITIVES, SLOTS, columns_of
from nearid.io.images import encode_png
from nearid.io.tables import write_table
from nearid.rehearsal.pictures import draw_view, to_jpeg

SIDE = 96
Sizes = Mapping[str, int]


def save_syncd(folder: Path, sizes: Sizes, with_texts: bool) -> None:
    """Write SynCD's release: two archives of views and masks, the metadata beside them, and the script that unpacks.

    Some of the records are dropped by the protocol, at least one for each of its reasons.

    Args:
        folder: of the repository.
        sizes: identities that remain in each split.
        with_texts: whether records have their foreground text; else it comes from Cap3D (`save_captions`).
    """
    count = sum(sizes.values())
    records = [_Record(number, f"asset-{number}", f"a thing of kind {number}") for number in range(count)]
    records += [
        _Record(count, "", "", "deformable"),
        _Record(count + 1, "asset-0", "the asset of another"),
        _Record(count + 2, "asset-x", "A thing  of KIND 1"),
        _Record(count + 3, "asset-y", ""),
    ]
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps([record.describe(with_texts) for record in records]))
    files = {path: content for record in records for path, content in record.files().items()}
    for part in range(2):
        with zipfile.ZipFile(folder / f"archive_{part + 1}.zip", "w") as archive:
            for path in sorted(files)[part::2]:
                archive.writestr(zipfile.ZipInfo(path), files[path])
    (folder / "unzip.sh").write_text("for archive in *.zip; do unzip -q $archive; done\n")


class _Record:
    """One object of SynCD: two views, three for each third object."""

    def __init__(self, number: int, asset: str, text: str, category: str = "rigid") -> None:
        self._number, self._asset, self._text, self._category = number, asset, text, category
        self._views = range(3 if number % 3 == 0 else 2)

    def describe(self, with_text: bool) -> dict[str, Any]:
        """The object's metadata."""
        told = {
            "filenames": [f"object{self._number}/view{view}.png" for view in self._views],
            "prompts": [f"{self._text} in place {view}" for view in self._views],
            "original_filenames": [f"render{self._number}_{view}.png" for view in self._views],
            "objaverse_id": self._asset,
            "category": self._category,
            "dino_scores": np.triu(np.full((len(self._views),) * 2, 0.8), 1).tolist(),
            "aesthetics_scores": {f"view{view}": 6.0 + view for view in self._views},
        }
        return told | ({"category_description": self._text} if with_text else {})

    def files(self) -> dict[str, bytes]:
        """Contents by path in the archives: views, and renders on black that serve as masks."""
        found = {}
        for view in self._views:
            image, mask = draw_view(str(self._number), view, SIDE)
            found[f"object{self._number}/view{view}.png"] = encode_png(image)
            # JPEG noise lies around the object, as in the release.
            render = np.where(mask, 40 + image.max(axis=-1) // 2, 0).astype(np.uint8)
            found[f"object{self._number}/masks/view{view}.jpg"] = to_jpeg(render, quality=30)
        return found


def save_captions(path: Path, sizes: Sizes) -> None:
    """Write Cap3D's table without header: asset, text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f'asset-{number},"a thing of kind {number}"\n' for number in range(sum(sizes.values()))]
    path.write_text("".join(rows))


def save_nearid(folder: Path, sizes: Sizes) -> None:
    """Write the positives: ids with gaps, splits, two files of the one physical split `train`."""
    rows = []
    for number, split in enumerate(_splits(sizes)):
        row: dict[str, Any] = dict.fromkeys(POSITIVES.names) | _describe(number)
        row |= {"id_safe": True, "split": split, "dino_01": 0.75}
        for slot in range(1, row["n_images"] + 1):
            image, mask = draw_view(str(number), slot, SIDE)
            row |= {f"images{slot}": encode_png(image), f"masks{slot}": encode_png(mask * np.uint8(255))}
            row |= {f"size{slot}": [SIDE, SIDE], f"filenames{slot}": f"object{number}_{slot}.jpg"}
            row[f"aesthetics{slot}"] = 6.0
        rows.append(row)
    half = len(rows) // 2
    _save(folder / "data/train-00000-of-00002.parquet", rows[:half], POSITIVES)
    _save(folder / "data/train-00001-of-00002.parquet", rows[half:], POSITIVES)


def save_distractors(folder: Path, sizes: Sizes, instance: int) -> None:
    """Write one source's distractors for the same rows: another instance over the background of each view."""
    schema = pa.schema([field for field in DISTRACTORS if not field.name.startswith(("seed", "flag"))])
    rows = []
    for number in range(sum(sizes.values())):
        row: dict[str, Any] = dict.fromkeys(schema.names) | _describe(number)
        for slot in range(1, row["n_images"] + 1):
            row[f"nimg{slot}"] = encode_png(draw_view(str(number), slot, SIDE, instance)[0])
        rows.append(row)
    _save(folder / "data/train-00000-of-00001.parquet", rows, schema)


def save_mtg(folder: Path, sizes: Sizes) -> None:
    """Write part edits, `sizes` of train and test; parts differ in size, since M-O is a correlation with size."""
    schema = pa.schema([field for field in MTG if field.name != "id"])
    for split, count in sizes.items():
        rows = []
        for sample in range(count):
            row: dict[str, Any] = {}
            for number in (1, 2):
                image, mask = draw_view(f"{split} {sample}", number, SIDE)
                share = SIDE * (1 + 4 * sample + 2 * number) // (5 * count + 5)
                part = mask & (np.arange(SIDE) < share + SIDE // 5)[:, None]
                edited = np.where(part[..., None], 255 - image, image)
                values = {"original": image, "inpainted": edited, "object_mask": mask, "part_mask": part}
                row |= {f"image_{number}_{name}": encode_png(value) for name, value in values.items()}
            rows.append(row)
        _save(folder / f"data/{split}-00000-of-00001.parquet", rows, schema)


def _describe(number: int) -> dict[str, Any]:
    """Values that a row of the positives shares with the distractors' row."""
    views = 3 if number % 3 == 0 else 2
    row = {"id": 3 + 5 * number, "category": "rigid", "category_description": f"a thing of kind {number}"}
    row |= {"n_images": views, "objaverse_id": f"asset-{number}", "quality": "high"}
    return row | {f"prompts{slot}": f"a thing of kind {number} in place {slot}" for slot in SLOTS[:views]}


def _splits(sizes: Sizes) -> Sequence[str]:
    """A split for each row, spread over the rows as in the release."""
    names = [split for split, count in sizes.items() for _ in range(count)]
    return [names[7 * at % len(names)] for at in range(len(names))] if len(names) % 7 else names


def _save(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, columns_of(rows, schema), schema)
