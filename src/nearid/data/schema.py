"""Columns of the released sets (docs/protocol.md 1.3), and rows of our own in these columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nearid.data.records import MAX_VIEWS, Identity
from nearid.io.images import encode_png
from nearid.io.tables import IMAGE, read_table

SLOTS = range(1, MAX_VIEWS + 1)


def _slots(name: str, dtype: pa.DataType) -> list[tuple[str, pa.DataType]]:
    return [(f"{name}{slot}", dtype) for slot in SLOTS]


POSITIVES = pa.schema(
    [
        ("id", pa.int64()),
        ("category", pa.string()),
        ("category_description", pa.string()),
        *_slots("images", IMAGE),
        *_slots("masks", IMAGE),
        ("n_images", pa.int64()),
        ("objaverse_id", pa.string()),
        ("quality", pa.string()),
        ("dino_01", pa.float64()),
        ("dino_02", pa.float64()),
        ("dino_12", pa.float64()),
        *_slots("aesthetics", pa.float64()),
        *_slots("size", pa.list_(pa.int64())),
        *_slots("prompts", pa.string()),
        *_slots("filenames", pa.string()),
        ("id_safe", pa.bool_()),
        ("split", pa.string()),
    ]
)
RAW_MASKS = [pa.field(name, dtype) for name, dtype in _slots("raw_masks", IMAGE)]
"""Follow the columns of the positives if `dataset.keep_raw_masks` is set."""
DISTRACTORS = pa.schema(
    [
        ("id", pa.int64()),
        ("category", pa.string()),
        ("category_description", pa.string()),
        *_slots("nimg", IMAGE),
        ("n_images", pa.int64()),
        ("objaverse_id", pa.string()),
        *_slots("prompts", pa.string()),
        ("quality", pa.string()),
        *_slots("seed", pa.int64()),
        *_slots("flag", pa.string()),
    ]
)
MTG = pa.schema(
    [
        ("id", pa.int64()),
        *(
            (f"image_{number}_{name}", IMAGE)
            for number in (1, 2)
            for name in ("original", "inpainted", "object_mask", "part_mask")
        ),
    ]
)
IDENTITIES = pa.schema(
    [
        ("row", pa.int64()),
        ("id", pa.int64()),
        ("shard", pa.string()),
        ("shard_row", pa.int64()),
        ("split", pa.string()),
        ("class_name", pa.string()),
        ("category_description", pa.string()),
        ("n_images", pa.int64()),
        ("name", pa.string()),
    ]
)


def positives_row(identity: Identity, with_raw_masks: bool = False) -> dict[str, Any]:
    """One row of the positives; values that the data set does not have are null or empty."""
    row: dict[str, Any] = dict.fromkeys([*POSITIVES.names, *(field.name for field in RAW_MASKS)])
    row |= {
        "id": identity.id,
        "category": identity.class_name,
        "category_description": identity.description,
        "n_images": len(identity.views),
        "objaverse_id": "",
        "quality": "",
        "split": "",
        **identity.released,
    }
    for slot, view in enumerate(identity.views, start=1):
        assert view.mask is not None and view.mask.dtype == np.bool_
        height, width = view.mask.shape
        row |= {
            f"images{slot}": encode_png(view.image),
            f"masks{slot}": encode_png(view.mask),
            f"size{slot}": [width, height],
            f"prompts{slot}": view.prompt,
            f"filenames{slot}": view.filename,
        }
        if with_raw_masks and view.raw_mask is not None:
            row[f"raw_masks{slot}"] = encode_png(view.raw_mask)
        if identity.scores:
            row[f"aesthetics{slot}"] = identity.scores.aesthetics[view.position]
            for other, earlier in enumerate(identity.views[: slot - 1]):
                row[f"dino_{other}{slot - 1}"] = identity.scores.dino[earlier.position][view.position]
    return row


def columns_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> dict[str, list[Any]]:
    """`rows` turned into the columns of `schema`."""
    return {name: [row[name] for row in rows] for name in schema.names}


def read_rows(path: Path | str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a table of this stage; images stay `{bytes, path}` structs (`nearid.io.tables.image_bytes`).

    Raises:
        UserError: the file is missing or truncated, or lacks one of `columns`.
    """
    rows: list[dict[str, Any]] = read_table(path, columns).to_pylist()
    return rows
