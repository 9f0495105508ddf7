"""Which identities a figure shows: drawn by a recorded seed, those with most views first."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from nearid.errors import UserError
from nearid.io.randomness import keyed_rng
from nearid.io.tables import read_table
from nearid.layout import Layout

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShownIdentity:
    """An identity of a figure and where its images are."""

    id: int
    row: int
    shard: str
    shard_row: int
    n_images: int
    name: str
    class_name: str


def choose_identities(layout: Layout, split: str, count: int, seed: int, key: str) -> list[ShownIdentity]:
    """`count` identities of `split`, drawn for the figure `key`, in row order; three views are preferred to two.

    If the split has fewer, all of them, with a warning.

    Raises:
        UserError: the split has none.
    """
    names = ["row", "id", "shard", "shard_row", "n_images", "name", "class_name", "split"]
    rows = [row for row in read_table(layout.identities, names).to_pylist() if row.pop("split") == split]
    if not rows:
        raise UserError(
            layout.identities,
            f"no identities in split {split}",
            f"some to show in {key}",
            "select fewer figures, or give the split identities",
        )
    if len(rows) < count:
        logger.warning("%s: the split %s has %d of %d identities, which are shown", key, split, len(rows), count)
    rows.sort(key=lambda row: row["row"])
    order = keyed_rng("figure", key, seed).permutation(len(rows))
    drawn = sorted(range(len(rows)), key=lambda index: (-rows[index]["n_images"], order[index]))[:count]
    return [ShownIdentity(**rows[index]) for index in sorted(drawn)]
