"""How much of an object a part edit changed: what the oracle objectives rank by (docs/losses.md 1)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearid.io.images import decode_stored_mask
from nearid.io.tables import read_table

# Severity of a distractor whose edited area is unknown (authors' code).
SEVERITY = 0.1


def read_severity(edits: Path) -> NDArray[np.float32]:
    """Edited share of the object in both images of each sample of a part-edit set, [n, 2].

    Area of the part mask over that of the object mask, at most 1; `SEVERITY` where a mask is missing or
    shows no object.
    """
    columns = [f"image_{number}_{kind}_mask" for number in (1, 2) for kind in ("part", "object")]
    rows = read_table(edits, columns).to_pylist()
    areas = np.array(
        [[_area(row[name], f"{edits}: row {at}, {name}") for name in columns] for at, row in enumerate(rows)]
    )
    areas = areas.reshape(len(areas), 2, 2)
    part, whole = areas[..., 0], areas[..., 1]
    known = (part >= 0) & (whole > 0)
    return np.where(known, np.clip(part / np.maximum(whole, 1), 0, 1), SEVERITY).astype(np.float32)


def _area(mask: dict[str, bytes] | None, where: str) -> int:
    """Foreground pixels; -1 without mask."""
    return -1 if mask is None else int(decode_stored_mask(mask["bytes"], where).sum())
