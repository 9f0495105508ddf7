"""The released NearID positives (docs/protocol.md 1.3)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from nearid.data.records import MAX_VIEWS, USABLE, Dropped, Identity, Scores, View
from nearid.data.released import ReleasedTable
from nearid.data.schema import SLOTS
from nearid.errors import UserError
from nearid.io.hashing import hash_json
from nearid.io.images import decode_grey, decode_rgb
from nearid.io.tables import image_bytes

if TYPE_CHECKING:
    from nearid.config.schema.dataset import NearidData

_NEEDED = [
    "id", "category", "category_description", "n_images", "objaverse_id",
    *(f"{name}{slot}" for slot in SLOTS for name in ("images", "masks", "prompts", "filenames")),
]  # fmt: skip
_PASSED_ON = ("objaverse_id", "quality", "id_safe", "split")
_SCORES = ("dino_01", "dino_02", "dino_12", *(f"aesthetics{slot}" for slot in SLOTS))


class Dataset:
    """Identities as released, with the released ids, order, texts, scores and splits.

    Args:
        options: `path`, the folder of the positives.
        seed: unused.

    Raises:
        UserError: no such folder, or a column of the release is missing.
    """

    def __init__(self, options: NearidData, seed: int) -> None:
        del seed
        self._path = options.path

    def names(self) -> list[str]:
        """`nearid_<id>`."""
        ids = self._table.column("id")
        if len(set(ids)) != len(ids):
            twice = next(each for each in ids if ids.count(each) > 1)
            raise UserError(self._path, f"id {twice} twice", "unique ids", "fetch the set again")
        return [f"nearid_{each:06d}" for each in ids]

    def fingerprint(self) -> str:
        """Hash of ids and texts; images need none, since a fetched set is pinned by its revision."""
        return hash_json([self._table.column("id"), self._table.column("category_description")])

    def load(self, index: int) -> tuple[Identity | None, list[Dropped]]:
        """The row at `index` with its decoded views; None if one of them cannot be read, since slots are fixed."""
        extra = [name for name in (*_PASSED_ON[1:], *_SCORES) if name in self._table.columns]
        row = self._table.row(index, _NEEDED + extra)
        name, where = f"nearid_{row['id']:06d}", f"{self._path}, id {row['id']}"
        views: list[View] = []
        for slot in range(1, row["n_images"] + 1):
            image, mask = image_bytes(row[f"images{slot}"]), image_bytes(row[f"masks{slot}"])
            file = row[f"filenames{slot}"] or f"slot {slot}"
            try:
                if image is None:
                    raise UserError(where, f"no view in slot {slot}", f"{row['n_images']} views", "fetch the set again")
                pixels = decode_rgb(image, where)
                grey = None if mask is None else decode_grey(mask, where)
            except UserError as error:
                reason = f"its slots are fixed, and a view falls out: {error.found}"
                return None, [Dropped(name, file, error.found), Dropped(name, "", reason, USABLE)]
            views.append(View(pixels, grey, row[f"prompts{slot}"] or "", file, slot - 1))
        released = {key: row[key] for key in _PASSED_ON if row.get(key) is not None}
        identity = Identity(
            id=row["id"],
            name=name,
            class_name=row["category"],
            description=row["category_description"],
            views=tuple(views),
            scores=_read_scores(row),
            released=released,
            fixed_slots=True,
        )
        return identity, []

    @cached_property
    def _table(self) -> ReleasedTable:
        return ReleasedTable(self._path)


def _read_scores(row: dict[str, Any]) -> Scores:
    pair = [[row.get(f"dino_{min(i, j)}{max(i, j)}") for j in range(MAX_VIEWS)] for i in range(MAX_VIEWS)]
    return Scores([row.get(f"aesthetics{slot}") for slot in SLOTS], pair)
