"""How much of an object a part edit changed: what the oracle objectives rank by (docs/losses.md 1)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearid.data.part_areas import read_part_areas

# Severity of a distractor whose edited area is unknown (authors' code).
SEVERITY = 0.1


def read_severity(edits: Path) -> NDArray[np.float32]:
    """Edited share of the object in both images of each sample of a part-edit set, [n, 2].

    Area of the part mask over that of the object mask, at most 1; `SEVERITY` where a mask is missing or
    shows no object.
    """
    part, whole = read_part_areas(edits)
    known = (part >= 0) & (whole > 0)
    return np.where(known, np.clip(part / np.maximum(whole, 1), 0, 1), SEVERITY).astype(np.float32)
