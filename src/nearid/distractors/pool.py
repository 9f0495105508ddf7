"""Views of other identities, for engines that paste from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nearid.data.schema import read_rows
from nearid.io.images import decode_rgb, decode_stored_mask
from nearid.layout import Layout

_FILES_KEPT = 4
_GROUPS_KEPT = 16


@dataclass(frozen=True)
class PoolView:
    """One view of the pool: slot (0 to 2) of the identity with `id`, in row `shard_row` of `shard`."""

    id: int
    slot: int
    shard: str
    shard_row: int


class Pool:
    """The views of all positives. Pixels stay on disk until an engine asks for them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._open = lru_cache(_FILES_KEPT)(self._open_uncached)
        self._read_group = lru_cache(_GROUPS_KEPT)(self._read_group_uncached)

    def members(self, class_name: str, split: str) -> list[PoolView]:
        """Views of the identities of one class and one split, in row order."""
        return [
            PoolView(row["id"], slot, row["shard"], row["shard_row"])
            for row in self._identities
            if (row["class_name"], row["split"]) == (class_name, split)
            for slot in range(row["n_images"])
        ]

    def read(self, member: PoolView) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Image `[h, w, 3]` and mask `[h, w]` of a view."""
        metadata = self._open(member.shard).metadata
        row, group = member.shard_row, 0
        while row >= metadata.row_group(group).num_rows:
            row -= metadata.row_group(group).num_rows
            group += 1
        values = self._read_group(member.shard, group, member.slot)[row]
        where = f"{self._layout.positives(member.shard)}, id {member.id}, slot {member.slot}"
        image, mask = (values[f"{name}{member.slot + 1}"]["bytes"] for name in ("images", "masks"))
        return decode_rgb(image, where), decode_stored_mask(mask, where)

    @cached_property
    def _identities(self) -> list[dict[str, Any]]:
        return read_rows(self._layout.identities)

    def _open_uncached(self, shard: str) -> pq.ParquetFile:
        return pq.ParquetFile(self._layout.positives(shard))

    def _read_group_uncached(self, shard: str, group: int, slot: int) -> list[dict[str, Any]]:
        # Parquet reads whole row groups.
        columns = [f"images{slot + 1}", f"masks{slot + 1}"]
        rows: list[dict[str, Any]] = self._open(shard).read_row_group(group, columns).to_pylist()
        return rows
