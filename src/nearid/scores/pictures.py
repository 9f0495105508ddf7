"""The pictures behind image keys, for scorers that look at images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nearid.config.settings.scores import ScoreNearIDBench
from nearid.errors import UserError
from nearid.io.tables import read_table
from nearid.layout import Layout
from nearid.scores.scorers import ImageKey
from nearid.tokens.collections import Picture, open_collection, with_raw_masks

if TYPE_CHECKING:
    from nearid.config.settings.scores import Score


class StoredImages:
    """Pictures of a results folder, still encoded; a shard is read on first use.

    With `raw_masks` the positives' masks are the data set's own, not the cleaned ones. The positives stay in memory,
    since every source is compared with them; of the other collections only the latest does.
    """

    def __init__(self, layout: Layout, splits: Sequence[str], raw_masks: bool = False) -> None:
        self._layout, self._splits = layout, splits
        self._read = with_raw_masks(read_table) if raw_masks else read_table
        self._shards: dict[tuple[str, str], dict[tuple[int, int], Picture]] = {}

    @classmethod
    def of(cls, settings: Score, layout: Layout) -> StoredImages:
        """The pictures that a step scores: those of its split, if its benchmark has splits."""
        return cls(layout, [settings.split] if isinstance(settings, ScoreNearIDBench) else [])

    def find(self, collection: str, key: ImageKey) -> Picture:
        """The picture of `key`.

        Raises:
            UserError: the collection has none of that id and slot, or its file is missing or damaged.
        """
        place = collection, key.shard
        if place not in self._shards:
            stale = [other for other in self._shards if other[0] not in ("positives", collection)]
            for other in stale:
                del self._shards[other]
            pictures, _ = open_collection(self._layout, *place, self._splits, self._read)
            self._shards[place] = {(picture.id, picture.slot): picture for picture in pictures}
        picture = self._shards[place].get((key.id, key.slot))
        if picture is None:
            raise UserError(
                f"{collection} shard {key.shard}",
                f"no image of id {key.id}, slot {key.slot}",
                "every image that identities.parquet and the distractors list",
                "make the collection again",
            )
        return picture
