"""Curation: from a data set to shards of positives, identities, splits and the list of what was dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nearid.config import step_code
from nearid.data.datasets import open_dataset
from nearid.data.funnel import write_funnel
from nearid.data.masks.cleaning import clean
from nearid.data.records import MAX_VIEWS, Dataset, Dropped, Identity, View
from nearid.data.schema import IDENTITIES, POSITIVES, RAW_MASKS, columns_of, positives_row, read_rows
from nearid.data.splits import choose_splits
from nearid.data.uniqueness import drop_duplicates
from nearid.errors import UserError
from nearid.io.files import read_json, write_json, write_text
from nearid.io.hashing import hash_json
from nearid.io.progress import track
from nearid.io.resume import Parts
from nearid.io.sheets import one_line
from nearid.io.tables import image_bytes, write_table
from nearid.io.workers import map_ordered
from nearid.layout import Layout, shard_ids

if TYPE_CHECKING:
    from nearid.config.settings.data import CuratePositives

__all__ = ["curate", "read_rows", "select_views"]

_LIGHT = ["id", "name", "category", "category_description", "n_images", "objaverse_id", "split"]


def curate(settings: CuratePositives, layout: Layout, workers: int = 1) -> None:
    """Write all of `data/`: positives, identities, splits, dropped records and funnel (docs/formats.md).

    A killed run resumes from the parts in `data/.progress/`; its result has the same bytes as that of an uninterrupted
    run, with any number of workers.

    Args:
        settings: the data set, its seed, and how it is cut into splits and shards.
        layout: paths of the results folder.
        workers: processes that load identities.

    Raises:
        UserError: duplicate names or ids, splits or shards that do not fit, no identity left.
    """
    # Splits and shards are cut from the finished parts, so their settings may change before a run is resumed.
    reading = {key: settings.given[key] for key in ("seed", "kind", "clean_masks", "min_views", "options")}
    reading["keep_raw_masks"] = bool(settings.keep_raw_masks)
    dataset = open_dataset(settings.dataset, settings.seed)
    names = dataset.names()
    code = step_code("curate_positives", settings.given)
    key = hash_json([reading, names, dataset.fingerprint(), code])
    parts = Parts(layout.identities.parent / ".progress" / "positives", key)
    _load_parts(settings, parts, len(names), workers)

    numbers = parts.finished(".json")
    rows = [row for number in numbers for row in read_rows(parts.path(number, ".parquet"), _LIGHT)]
    dropped = [Dropped(**record) for number in numbers for record in read_json(parts.path(number, ".json"))]
    options = settings.dataset.options
    # Not every kind of data set has these options.
    kept, duplicates = drop_duplicates(rows, getattr(options, "dedupe", None))
    dropped += duplicates
    rows = [rows[at] for at in kept]
    _check_rows(rows, dropped, settings.shards)
    chosen = choose_splits(rows, settings)
    splits = chosen.splits
    split_of = {row: split for split, members in splits.items() for row in members}
    _write_shards(rows, kept, split_of, parts, settings.shards, layout, _schema(settings.keep_raw_masks))
    write_json(layout.splits, {**splits, "seed": chosen.seed})
    check_counts = bool(getattr(options, "check_counts", False))
    write_funnel(layout.funnel, len(names), dropped, rows, check_counts, chosen.found)
    lines = [
        "name\tview\treason",
        *("\t".join(map(one_line, (record.name, record.view, record.reason))) for record in dropped),
    ]
    write_text(layout.dropped, "\n".join(lines) + "\n")
    parts.clear()


def select_views(identity: Identity, min_views: int, clean_masks: bool) -> tuple[Identity | None, list[Dropped]]:
    """`identity` with its usable views, None if they are too few, and what was dropped.

    A view needs a mask that is neither empty nor the whole frame, and one of the three slots. If the slots are fixed,
    one unusable view drops the identity.
    """
    views: list[View] = []
    dropped: list[Dropped] = []
    for view in identity.views:
        mask = None
        if view.mask is not None:
            mask = clean(view.mask) if clean_masks else view.mask > 0
        if mask is None:
            reason = "no mask file and no mask estimator"
        elif not mask.any():
            reason = "empty mask: no object found"
        elif mask.all():
            reason = "the mask is the whole picture: no background left"
        elif len(views) == MAX_VIEWS:
            reason = f"one view too many: there are {MAX_VIEWS} slots"
        else:
            views.append(replace(view, mask=mask, raw_mask=view.mask))
            continue
        dropped.append(Dropped(identity.name, view.filename, reason))
        if identity.fixed_slots:
            dropped.append(Dropped(identity.name, "", f"its slots are fixed, and a view falls out: {reason}"))
            return None, dropped
    if len(views) < min_views:
        dropped.append(Dropped(identity.name, "", f"{len(views)} usable views, {min_views} needed"))
        return None, dropped
    return replace(identity, views=tuple(views)), dropped


@dataclass(frozen=True)
class _Loader:
    """Writes one part: rows of consecutive identities, then the list of dropped ones, which marks it as complete."""

    dataset: Dataset
    settings: CuratePositives
    parts: Parts

    def __call__(self, members: range) -> int:
        rows: list[dict[str, Any]] = []
        dropped: list[Dropped] = []
        for index in members:
            identity, fell = self.dataset.load(index)
            dropped += fell
            if identity is not None:
                identity, fell = select_views(identity, self.settings.min_views, self.settings.clean_masks)
                dropped += fell
            if identity is not None:
                row = positives_row(identity, self.settings.keep_raw_masks)
                rows.append({**row, "name": identity.name})
        schema = _schema(self.settings.keep_raw_masks).append(pa.field("name", pa.string()))
        write_table(self.parts.path(members.start, ".parquet"), columns_of(rows, schema), schema)
        write_json(self.parts.path(members.start, ".json"), [asdict(record) for record in dropped])
        return len(members)


def _schema(keep_raw_masks: bool) -> pa.Schema:
    return pa.schema([*POSITIVES, *RAW_MASKS]) if keep_raw_masks else POSITIVES


def _make_loader(settings: CuratePositives, parts: Parts) -> _Loader:
    return _Loader(open_dataset(settings.dataset, settings.seed), settings, parts)


def _load_parts(settings: CuratePositives, parts: Parts, count: int, workers: int) -> None:
    """Write the parts that are missing, with progress counted in identities."""
    finished = set(parts.finished(".json"))
    # A kill loses unfinished parts, so they are small; a part per identity would make too many files.
    size = min(16, max(1, count // 50))
    blocks = [range(start, min(start + size, count)) for start in range(0, count, size)]
    missing = [block for block in blocks if block.start not in finished]
    sizes = map_ordered(partial(_make_loader, settings, parts), missing, workers)
    identities = (index for size in sizes for index in range(size))
    for _ in track(identities, "curate", total=count, done=count - sum(map(len, missing))):
        pass


def _check_rows(rows: Sequence[Mapping[str, Any]], dropped: Sequence[Dropped], shards: int) -> None:
    """Raise UserError if ids repeat, or if too few identities are left."""
    name_of: dict[int, str] = {}
    for row in rows:
        other = name_of.setdefault(row["id"], row["name"])
        if other != row["name"]:
            raise UserError(
                "the data set", f"{other!r} and {row['name']!r} both have id {row['id']}", "unique ids", "renumber one"
            )
    if len(rows) < shards:
        reasons = Counter(record.reason for record in dropped).most_common(5)
        commonest = "; ".join(f"{count} x {reason}" for reason, count in reasons)
        raise UserError(
            "dataset.shards",
            f"{len(rows)} usable identities for {shards} shards (dropped: {commonest or 'nothing'})",
            "at least one identity per shard",
            "correct the pictures, or ask for fewer shards",
        )


def _write_shards(
    rows: Sequence[Mapping[str, Any]],
    kept: Sequence[int],
    split_of: Mapping[int, str],
    parts: Parts,
    shards: int,
    layout: Layout,
    schema: pa.Schema,
) -> None:
    """Divide the rows at positions `kept` evenly among `shards` files, in order, and write the table of identities."""
    edges = [len(rows) * shard // shards for shard in range(shards + 1)]
    everything = (row for number in parts.finished(".json") for row in read_rows(parts.path(number, ".parquet")))
    chosen = set(kept)
    full = (row for at, row in enumerate(everything) if at in chosen)
    identities: list[dict[str, Any]] = []
    for shard, (start, end) in zip(shard_ids(shards), pairwise(edges), strict=True):
        members = [row | {"split": split_of[at]} for at, row in zip(range(start, end), full, strict=False)]
        for row in members:
            row.update({name: image_bytes(row[name]) for name in row if name.startswith(("images", "masks", "raw"))})
        write_table(layout.positives(shard), columns_of(members, schema), schema)
        identities += [
            {**rows[at], "row": at, "shard": shard, "shard_row": at - start, "split": split_of[at]}
            for at in range(start, end)
        ]
    for row in identities:
        # All of SynCD's are `rigid`; only the text says what the object is.
        told = row["category_description"] if row["category"] == "rigid" else row["category"]
        row["class_name"] = told or row["category"]
    write_table(layout.identities, columns_of(identities, IDENTITIES), IDENTITIES)
    current = {layout.positives(shard) for shard in shard_ids(shards)}
    for stale in set(layout.positives("000").parent.glob("*.parquet")) - current:
        stale.unlink()
