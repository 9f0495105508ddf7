"""NearID-bench: similarities of views and distractors, per identity, source and condition (spec data.md 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nearid.data.records import MAX_VIEWS
from nearid.errors import UserError
from nearid.io.tables import read_presence, read_table, write_table
from nearid.layout import Layout
from nearid.scores.margins import CROSSES, SIMILARITIES, VIEW_PAIRS
from nearid.scores.scorers import ImageKey, Scorer, load_scorer

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("id", pa.int64()),
        ("source", pa.string()),
        ("condition", pa.string()),
        *((name, pa.float64()) for name in (*SIMILARITIES, *CROSSES, "random")),
    ]
)


@dataclass(frozen=True)
class Roster:
    """The identities of a split, in row order, and where they lie; arrays `[identities]`."""

    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    shards: NDArray[np.str_]
    shard_rows: NDArray[np.int64]
    n_images: NDArray[np.int64]

    def keys(self, present: NDArray[np.bool_], condition: str) -> list[ImageKey]:
        """Keys of the images where `present` `[identities, 3]`, in reading order."""
        return [
            ImageKey(str(self.shards[position]), int(self.ids[position]), int(slot), condition)
            for position, slot in np.argwhere(present)
        ]


def score_nearid_bench(settings: Mapping[str, Any], layout: Layout, output: Path) -> None:
    """Write the similarities of one scorer to `output`: a row per source, condition and identity of the split.

    `sim_ij` compares views i and j, `cross_ij` view i with the distractor of view j, `random` is the mean similarity
    of view 0 with view 0 of every other identity of the split. What needs a missing image is NaN.

    Args:
        settings: of the step: `scorer`, `scorer_id`, `sources`, `conditions`, `split`, and the tokens to use.
        layout: of the results folder.
        output: Parquet file to write.

    Raises:
        UserError: data, tokens or the scorer's files are missing or do not fit each other.
    """
    roster = read_roster(layout, settings["split"])
    scorer = load_scorer(settings, layout)
    views_present = np.arange(MAX_VIEWS) < roster.n_images[:, None]
    distractors_present = {source: find_distractors(layout, source, roster) for source in settings["sources"]}
    views = {
        condition: embed_slots(scorer, "positives", roster, views_present, condition)
        for condition in settings["conditions"]
    }
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for source in settings["sources"]:
        for condition in settings["conditions"]:
            distractors = embed_slots(scorer, source, roster, distractors_present[source], condition)
            columns["row"].extend(roster.rows)
            columns["id"].extend(roster.ids)
            columns["source"].extend([source] * len(roster.ids))
            columns["condition"].extend([condition] * len(roster.ids))
            for name, values in compare(views[condition], distractors).items():
                columns[name].extend(values)
    write_table(output, columns, SCHEMA)


def read_roster(layout: Layout, split: str) -> Roster:
    """The identities of `split`.

    Raises:
        UserError: the split has no identities.
    """
    names = ["row", "id", "shard", "shard_row", "n_images"]
    table = read_table(layout.identities, [*names, "split"])
    table = table.filter(pc.field("split") == split).sort_by("row")
    if not len(table):
        raise UserError(layout.identities, f"no identity in split {split!r}", "one at least", "choose another split")
    return Roster(*(table[name].to_numpy() for name in names))


def find_distractors(layout: Layout, source: str, roster: Roster) -> NDArray[np.bool_]:
    """Which slots `[identities, 3]` of a source hold a distractor.

    Raises:
        UserError: a shard is missing, or its rows are not those of the positives.
    """
    present = np.zeros((len(roster.ids), MAX_VIEWS), bool)
    for shard in np.unique(roster.shards):
        path = layout.distractors(source, str(shard))
        ids = read_table(path, ["id"])["id"].to_numpy()
        mine = roster.shards == shard
        rows = roster.shard_rows[mine]
        if rows.max() >= len(ids) or not np.array_equal(ids[rows], roster.ids[mine]):
            raise UserError(
                path,
                "other identities than the positives' shard",
                "the same ids, row by row",
                "inpaint the shard again",
            )
        present[mine] = read_presence(path, [f"nimg{slot + 1}" for slot in range(MAX_VIEWS)])[rows]
    return present


def embed_slots(
    scorer: Scorer, collection: str, roster: Roster, present: NDArray[np.bool_], condition: str
) -> NDArray[np.float64]:
    """Unit vectors `[identities, 3, dim]` of a collection's images, NaN where there is none."""
    keys = roster.keys(present, condition)
    vectors = scorer.embed(collection, keys) if keys else np.empty((0, 1), np.float32)
    slots = np.full((*present.shape, vectors.shape[1]), np.nan)
    slots[present] = vectors
    return slots


def compare(views: NDArray[np.float64], distractors: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Similarity columns, each `[identities]`, of unit vectors `[identities, 3, dim]`."""
    columns = {f"sim_{i}{j}": (views[:, i] * views[:, j]).sum(1) for i, j in VIEW_PAIRS}
    columns |= {f"cross_{i}{j}": (views[:, i] * distractors[:, j]).sum(1) for i in range(3) for j in range(3)}
    anchors = views[:, 0]
    known = ~np.isnan(anchors).any(axis=1)
    others = np.nansum(anchors, axis=0) - anchors
    count = known.sum() - 1
    columns["random"] = (anchors * others).sum(1) / count if count else np.full(len(anchors), np.nan)
    return columns


def select(table: pa.Table, source: str, condition: str) -> dict[str, NDArray[np.float64]]:
    """Similarity columns of one source and condition of a NearID-bench table, in row order."""
    part = table.filter((pc.field("source") == source) & (pc.field("condition") == condition)).sort_by("row")
    return {name: part[name].to_numpy() for name in (*SIMILARITIES, *CROSSES, "random")}


def sources_of(table: pa.Table) -> Sequence[str]:
    """Sources of a NearID-bench table, in its order."""
    return table["source"].unique().to_pylist()
