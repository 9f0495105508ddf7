"""The distractors that the authors released, used instead of new ones."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearid.config.schema.dataset import NearidData
from nearid.data.released import ReleasedTable, check_alignment
from nearid.distractors.pool import Pool
from nearid.distractors.protocol import BaseEngine, NothingToPaint, Target
from nearid.errors import UserError
from nearid.io.images import decode_rgb
from nearid.io.tables import image_bytes

if TYPE_CHECKING:
    from nearid.config.schema.sources import Released
    from nearid.config.settings.data import AnyDataset
    from nearid.config.settings.distractors import Source


class Engine(BaseEngine):
    """Returns `nimg{slot}` of the row with the target's id (docs/protocol.md 1.3); `path` is the set's folder.

    With the released data set, both sets must have the same ids in the same order. With any data set a row's text must
    equal the target's, so that a set curated here never gets the distractors of other identities.

    Raises:
        UserError: no path, no such set, or a set that belongs to other positives.
    """

    def __init__(self, source: Source[Released], dataset: AnyDataset, seed: int, pool: Pool) -> None:
        del seed, pool
        if source.options.path is None:
            raise UserError(
                "options of a source with engine released", "no path", "the folder of a released set", "add it"
            )
        self._table = ReleasedTable(source.options.path)
        if isinstance(dataset.options, NearidData):
            check_alignment(ReleasedTable(dataset.options.path), self._table)

    def paint(self, target: Target, seed: int) -> NDArray[np.uint8]:
        """The released frame; the seed changes nothing."""
        del seed
        where = f"{self._table.folder}, id {target.id}"
        if (place := self._rows.get(target.id)) is None:
            raise NothingToPaint(f"the released set has no id {target.id}")
        column = f"nimg{target.slot + 1}"
        row = self._table.row(place, ["id", "category_description", column])
        if row["category_description"] != target.text:
            raise UserError(
                where,
                f"the text {row['category_description']!r}",
                f"the text of the positives, {target.text!r}",
                "take the distractors that belong to this data set",
            )
        image = image_bytes(row[column])
        if image is None:
            raise NothingToPaint("the released slot is empty")
        return decode_rgb(image, where)

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {each: place for place, each in enumerate(self._table.column("id"))}
