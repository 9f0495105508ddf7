"""Areas of objects and of their edited parts in a part-edit set (docs/protocol.md 2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearid.io.images import decode_stored_mask
from nearid.io.tables import image_bytes, read_table


def read_part_areas(edits: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of edited parts and of objects, `[samples, 2]` each, for both images of a sample; -1 without a mask.

    Raises:
        UserError: the file or a mask in it is damaged.
    """
    columns = [f"image_{number}_{kind}_mask" for number in (1, 2) for kind in ("part", "object")]
    rows = read_table(edits, columns).to_pylist()
    pixels = [
        [_count(image_bytes(row[name]), f"{edits}: row {place}, {name}") for name in columns]
        for place, row in enumerate(rows)
    ]
    areas = np.array(pixels, np.int64).reshape(len(rows), 2, 2)
    return areas[..., 0], areas[..., 1]


def _count(mask: bytes | None, where: str) -> int:
    return -1 if mask is None else int(decode_stored_mask(mask, where).sum())
