"""MTG: similarities of originals and edited copies, and the size of each edit (docs/protocol.md 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearid.config.settings.scores import Score, ScoreMTG
from nearid.data.part_areas import read_part_areas
from nearid.errors import UserError
from nearid.io.hashing import hash_json
from nearid.io.tables import read_table, write_table
from nearid.layout import Layout
from nearid.scores.answers import Answers, answers_path, refuse_rated, with_counts
from nearid.scores.embeddings import Vectors, embed_each
from nearid.scores.packs import Job, Key, Pack, each_embeds
from nearid.scores.pictures import StoredImages
from nearid.scores.scorers import Embedder, ImageKey, PairScorer, Shown, load_scorer

SHARD = "000"
PAIRS = {"s_12": (0, 1), "s_11e": (0, 2), "s_22e": (1, 3), "s_12e": (0, 3), "s_21e": (1, 2)}
"""Slots that each similarity compares: 0 and 1 the originals, 2 and 3 their edited copies (e)."""
ORACLES = ("oracle_1", "oracle_2")

SCHEMA = pa.schema(
    [("sample", pa.int64()), ("condition", pa.string()), *((name, pa.float64()) for name in (*PAIRS, *ORACLES))]
)


def score_mtg(
    settings: ScoreMTG,
    layout: Layout,
    output: Path,
    code: str = "",
    split: str = "test",
    along: Sequence[Job] = (),
) -> None:
    """Write the similarities of one scorer to `output`: a row per condition and sample.

    Args:
        settings: of the step.
        layout: of the results folder.
        output: Parquet file to write.
        code: fingerprint of the code; what other code has left behind is not resumed.
        split: of MTG; `train` has its tokens for training, `test` is the benchmark.
        along: scorers of the same tokens; those without current scores are scored in the same pass.

    Raises:
        UserError: data, tokens or the scorer's files are missing.
    """
    samples, oracles = read_oracles(layout.mtg(split))
    scorer = load_scorer(settings, layout)
    if isinstance(scorer, Embedder):
        with Pack(scorer, settings, code, output, along, layout, "mtg", _keys(split), SCHEMA) as pack:
            write_table(output, _embed_all(pack, f"mtg_{split}", samples, oracles), SCHEMA)
            pack.clear()
    elif isinstance(scorer, PairScorer):
        answers = Answers(scorer, answers_path(output), f"{settings.scorer_id}: MTG")
        parts = _ask_all(answers, settings.conditions, f"mtg_{split}", samples, StoredImages(layout, []))
        write_table(output, _list_columns(parts, samples, oracles), with_counts(SCHEMA, answers.counts()))
    else:
        raise refuse_rated(settings, "MTG")


def _keys(split: str) -> Key:
    def keys(scorer: Embedder, settings: Score, code: str) -> dict[str, str]:
        key = scorer.fingerprint([f"mtg_{split}"], [SHARD])
        return {f"mtg_{split}": key and hash_json([key, code, dict(settings.given)])}

    return keys


def _embed_all(
    pack: Pack, collection: str, samples: Sequence[int], oracles: NDArray[np.float64]
) -> Mapping[str, Sequence[Any]]:
    parts: dict[str, dict[str, NDArray[np.float64]]] = {one.name: {} for one in pack.members}
    for condition in pack.members[0].settings.conditions:
        keys = _image_keys(samples, condition)

        def vectors(scorers: Sequence[Embedder], keys: Sequence[ImageKey] = keys) -> Sequence[Vectors | UserError]:
            return each_embeds(
                scorers,
                lambda scorer: scorer.embed(collection, keys),
                lambda several: embed_each(several, collection, keys),
            )

        for one, own in pack.embed(pack.wanting(collection), vectors):
            slots = own.astype(np.float64).reshape(len(samples), 4, -1)
            parts[one.name][condition] = np.stack([(slots[:, i] * slots[:, j]).sum(1) for i, j in PAIRS.values()], 1)
    for one in pack.wanting(collection):
        one.made[collection] = _list_columns(parts[one.name], samples, oracles)
    return pack.close()[collection]


def _ask_all(
    answers: Answers, conditions: Sequence[str], collection: str, samples: Sequence[int], book: StoredImages
) -> dict[str, NDArray[np.float64]]:
    parts = {}
    for condition in conditions:
        shown = [Shown(collection, book.find(collection, key), condition) for key in _image_keys(samples, condition)]
        starts = range(0, len(shown), 4)
        pairs = [(shown[start + i], shown[start + j]) for start in starts for i, j in PAIRS.values()]
        parts[condition] = answers.measure(pairs, condition).reshape(len(samples), len(PAIRS))
    return parts


def _image_keys(samples: Sequence[int], condition: str) -> list[ImageKey]:
    return [ImageKey(SHARD, sample, slot, condition) for sample in samples for slot in range(4)]


def _list_columns(
    parts: Mapping[str, NDArray[np.float64]], samples: Sequence[int], oracles: NDArray[np.float64]
) -> dict[str, list[Any]]:
    """The rows of all conditions, from similarities `[samples, pairs]` and oracles `[samples, 2]`."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for condition, values in parts.items():
        columns["sample"].extend(samples)
        columns["condition"].extend([condition] * len(samples))
        for name, similarities in zip(PAIRS, values.T, strict=True):
            columns[name].extend(similarities)
        for name, oracle in zip(ORACLES, oracles.T, strict=True):
            columns[name].extend(oracle)
    return columns


def read_oracles(path: Path) -> tuple[Sequence[int], NDArray[np.float64]]:
    """Sample ids and the oracle `[samples, 2]` of each edit.

    Raises:
        UserError: the file or a mask in it is damaged.
    """
    ids: list[int] = read_table(path, ["id"])["id"].to_pylist()
    return ids, grade_edits(*read_part_areas(path))


def grade_edits(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Oracle o = 1 - part / object of areas in pixels; an unknown part (negative) or object counts as all edited."""
    known = (part >= 0) & (whole > 0)
    return np.where(known, 1 - part / np.where(known, whole, 1), 0.0)
