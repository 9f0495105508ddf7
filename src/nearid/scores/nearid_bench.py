"""NearID-bench: similarities of views and distractors, per identity, source and condition (docs/protocol.md 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nearid.config.settings.scores import VSM, OwnScorer, Score, ScoreNearIDBench
from nearid.data.records import MAX_VIEWS
from nearid.errors import UserError
from nearid.io.hashing import hash_json
from nearid.io.tables import read_presence, read_table, write_table
from nearid.layout import Layout
from nearid.margins import VIEW_PAIRS
from nearid.scores.answers import Answers, answers_path, refuse_rated, with_counts
from nearid.scores.embeddings import Vectors, embed_each
from nearid.scores.margins import CROSSES, SIMILARITIES, Columns
from nearid.scores.packs import Job, Key, Pack, PackedScorer, each_embeds
from nearid.scores.pictures import StoredImages
from nearid.scores.scorers import Embedder, ImageKey, Pair, PairScorer, Shown, load_scorer

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
class SplitIdentities:
    """The identities of a split, in row order, and where they are; arrays `[identities]`."""

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


def score_nearid_bench(
    settings: ScoreNearIDBench,
    layout: Layout,
    output: Path,
    code: str = "",
    along: Sequence[Job] = (),
) -> None:
    """Write the similarities of one scorer to `output`: a row per source, condition and identity of the split.

    `sim_ij` compares views i and j, `cross_ij` view i with the distractor of view j, `random` is the mean similarity
    of view 0 with view 0 of every other identity of the split. Values that need a missing image are NaN. A pair scorer
    is asked only for what the protocol needs: `sim_ij` and `cross_ii`.

    Args:
        settings: of the step.
        layout: of the results folder.
        output: Parquet file to write.
        code: fingerprint of the code; what other code has left behind is not resumed.
        along: scorers of the same tokens; those without current scores are scored in the same pass.

    Raises:
        UserError: data, tokens or the scorer's files are missing or do not fit each other.
    """
    identities = read_identities(layout, settings.split)
    scorer = load_scorer(settings, layout)
    views_present = np.arange(MAX_VIEWS) < identities.n_images[:, None]
    present = {source: find_distractors(layout, source, identities) for source in settings.sources}
    if isinstance(scorer, Embedder):
        keys = _keys(identities, present)
        with Pack(scorer, settings, code, output, along, layout, "nearid_bench", keys, SCHEMA) as pack:
            write_table(output, _embed_all(pack, identities, views_present, present), SCHEMA)
            pack.clear()
    elif isinstance(scorer, PairScorer):
        answers = Answers(scorer, answers_path(output), f"{settings.scorer_id}: NearID-bench")
        entry = settings.scorer
        raw_masks = isinstance(entry, VSM | OwnScorer) and entry.masks == "raw"
        book = StoredImages(layout, [settings.split], raw_masks)
        parts = _ask_all(answers, settings, identities, views_present, present, book)
        columns = _join([_list_columns(source, identities, parts[source]) for source in settings.sources])
        write_table(output, columns, with_counts(SCHEMA, answers.counts()))
    else:
        raise refuse_rated(settings, "NearID-bench")


def _list_columns(source: str, identities: SplitIdentities, parts: Mapping[str, Columns]) -> dict[str, list[Any]]:
    """The rows of one source, by condition."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for condition, values in parts.items():
        columns["row"].extend(identities.rows)
        columns["id"].extend(identities.ids)
        columns["source"].extend([source] * len(identities.ids))
        columns["condition"].extend([condition] * len(identities.ids))
        for name, column in values.items():
            columns[name].extend(column)
    return columns


def _join(parts: Sequence[Mapping[str, Sequence[Any]]]) -> dict[str, list[Any]]:
    return {name: [value for part in parts for value in part[name]] for name in SCHEMA.names}


def _keys(identities: SplitIdentities, present: Mapping[str, NDArray[np.bool_]]) -> Key:
    shards = [str(shard) for shard in np.unique(identities.shards)]
    rows = [
        part.tolist()
        for part in (identities.rows, identities.ids, identities.shards, identities.shard_rows, identities.n_images)
    ]

    def keys(scorer: Embedder, settings: Score, code: str) -> dict[str, str]:
        # A source's scores depend neither on the other sources nor on the number of shards.
        own = {key: value for key, value in settings.given.items() if key not in ("sources", "token_shards")}
        found = {}
        for source in present:
            key = scorer.fingerprint(["positives", source], shards)
            found[source] = key and hash_json([key, code, own, rows, present[source].tolist()])
        return found

    return keys


def _embed_all(
    pack: Pack,
    identities: SplitIdentities,
    views_present: NDArray[np.bool_],
    present: Mapping[str, NDArray[np.bool_]],
) -> dict[str, list[Any]]:
    """Columns of all sources; kept scores are used for sources for which nothing has changed."""
    sources, conditions = list(present), pack.members[0].settings.conditions

    def embed(
        members: Sequence[PackedScorer], collection: str, where: NDArray[np.bool_], condition: str
    ) -> dict[str, NDArray[np.float64]]:
        keys = identities.keys(where, condition)
        if not keys:
            return {one.name: spread_slots(None, where) for one in members}

        def vectors(scorers: Sequence[Embedder]) -> Sequence[Vectors | UserError]:
            return each_embeds(
                scorers,
                lambda scorer: scorer.embed(collection, keys),
                lambda several: embed_each(several, collection, keys),
            )

        return {one.name: spread_slots(own, where) for one, own in pack.embed(members, vectors)}

    views = {
        condition: embed(pack.wanting(*sources), "positives", views_present, condition) for condition in conditions
    }
    for source in sources:
        parts = {condition: embed(pack.wanting(source), source, present[source], condition) for condition in conditions}
        for one in pack.wanting(source):
            compared = {name: compare(views[name][one.name], parts[name][one.name]) for name in conditions}
            one.made[source] = _list_columns(source, identities, compared)
    found = pack.close()
    return _join([found[source] for source in sources])


def _ask_all(
    answers: Answers,
    settings: ScoreNearIDBench,
    identities: SplitIdentities,
    views_present: NDArray[np.bool_],
    present: Mapping[str, NDArray[np.bool_]],
    book: StoredImages,
) -> dict[str, dict[str, Columns]]:
    def show(collection: str, position: int, slot: int, condition: str) -> Shown:
        key = ImageKey(str(identities.shards[position]), int(identities.ids[position]), slot, condition)
        return Shown(collection, book.find(collection, key), condition)

    def ask(names: Sequence[str], pairs: Mapping[tuple[str, int], Pair], what: str) -> dict[str, NDArray[np.float64]]:
        columns = {name: np.full(len(identities.ids), np.nan) for name in names}
        for (name, position), value in zip(pairs, answers.measure(list(pairs.values()), what), strict=True):
            columns[name][position] = value
        return columns

    everyone = range(len(identities.ids))
    parts: dict[str, dict[str, Columns]] = {source: {} for source in settings.sources}
    unknown = {name: np.full(len(identities.ids), np.nan) for name in (*CROSSES, "random")}
    for condition in settings.conditions:
        pairs = {
            (f"sim_{i}{j}", n): (show("positives", n, i, condition), show("positives", n, j, condition))
            for n in everyone
            for i, j in VIEW_PAIRS
            if views_present[n, i] and views_present[n, j]
        }
        views = ask(SIMILARITIES, pairs, f"views, {condition}")
        for source in settings.sources:
            pairs = {
                (f"cross_{i}{i}", n): (show("positives", n, i, condition), show(source, n, i, condition))
                for n in everyone
                for i in range(MAX_VIEWS)
                if views_present[n, i] and present[source][n, i]
            }
            crosses = ask([f"cross_{i}{i}" for i in range(MAX_VIEWS)], pairs, f"{source}, {condition}")
            parts[source][condition] = views | unknown | crosses
    return parts


def read_identities(layout: Layout, split: str) -> SplitIdentities:
    """The identities of `split`.

    Raises:
        UserError: the split has no identities.
    """
    names = ["row", "id", "shard", "shard_row", "n_images"]
    table = read_table(layout.identities, [*names, "split"])
    table = table.filter(pc.field("split") == split).sort_by("row")
    if not len(table):
        raise UserError(layout.identities, f"no identity in split {split!r}", "one at least", "choose another split")
    return SplitIdentities(*(table[name].to_numpy() for name in names))


def find_distractors(layout: Layout, source: str, identities: SplitIdentities) -> NDArray[np.bool_]:
    """Which slots `[identities, 3]` of a source hold a distractor.

    Raises:
        UserError: a shard is missing, or its rows are not those of the positives.
    """
    present = np.zeros((len(identities.ids), MAX_VIEWS), bool)
    for shard in np.unique(identities.shards):
        path = layout.distractors(source, str(shard))
        ids = read_table(path, ["id"])["id"].to_numpy()
        mine = identities.shards == shard
        rows = identities.shard_rows[mine]
        if rows.max() >= len(ids) or not np.array_equal(ids[rows], identities.ids[mine]):
            raise UserError(
                path,
                "other identities than the positives' shard",
                "the same ids, row by row",
                "inpaint the shard again",
            )
        present[mine] = read_presence(path, [f"nimg{slot + 1}" for slot in range(MAX_VIEWS)])[rows]
    return present


def spread_slots(vectors: NDArray[np.float32] | None, present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Unit vectors `[identities, 3, dim]` from those of the slots where `present`, NaN elsewhere."""
    slots = np.full((*present.shape, 1 if vectors is None else vectors.shape[1]), np.nan)
    if vectors is not None:
        slots[present] = vectors
    return slots


def compare(views: NDArray[np.float64], distractors: NDArray[np.float64]) -> Columns:
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
