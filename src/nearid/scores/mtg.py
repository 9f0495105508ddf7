"""MTG: similarities of originals and edited copies beside the size of the edit (docs/protocol.md 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearid.io.hashing import hash_json
from nearid.io.images import decode_stored_mask
from nearid.io.tables import image_bytes, read_table, write_table
from nearid.layout import Layout
from nearid.scores.answers import Answers, answers_path, refuse_rated, with_counts
from nearid.scores.kept import KeptVectors
from nearid.scores.pictures import PictureBook
from nearid.scores.scorers import Embedder, ImageKey, PairScorer, Shown, load_scorer

SHARD = "000"
PAIRS = {"s_12": (0, 1), "s_11e": (0, 2), "s_22e": (1, 3), "s_12e": (0, 3), "s_21e": (1, 2)}
"""Slots that each similarity compares: 0 and 1 the originals, 2 and 3 their edited copies (e)."""
ORACLES = ("oracle_1", "oracle_2")

SCHEMA = pa.schema(
    [("sample", pa.int64()), ("condition", pa.string()), *((name, pa.float64()) for name in (*PAIRS, *ORACLES))]
)


def score_mtg(settings: Mapping[str, Any], layout: Layout, output: Path, code: str = "", split: str = "test") -> None:
    """Write the similarities of one scorer to `output`: a row per condition and sample.

    Args:
        settings: of the step: `scorer`, `scorer_id`, `conditions`, and the tokens to use.
        layout: of the results folder.
        output: Parquet file to write.
        code: fingerprint of the code; what another code left behind is not continued.
        split: of MTG; `train` has its tokens for training, `test` is the benchmark.

    Raises:
        UserError: data, tokens or the scorer's files are missing.
    """
    samples, oracles = read_oracles(layout.mtg(split))
    scorer = load_scorer(settings, layout)
    collection = f"mtg_{split}"
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    answers, kept, schema = None, None, SCHEMA
    if isinstance(scorer, Embedder):
        key = scorer.fingerprint([collection], [SHARD])
        kept = KeptVectors(output, key and hash_json([key, code, dict(settings)]))
    elif isinstance(scorer, PairScorer):
        answers = Answers(scorer, answers_path(output), f"{settings['scorer_id']}: MTG")
        book = PictureBook(layout, [])
    else:
        raise refuse_rated(settings, "MTG")
    for condition in settings["conditions"]:
        keys = [ImageKey(SHARD, sample, slot, condition) for sample in samples for slot in range(4)]
        if answers is None:
            assert isinstance(scorer, Embedder) and kept is not None
            embed = partial(scorer.embed, collection, keys)
            vectors = kept.get(embed).astype(np.float64).reshape(len(samples), 4, -1)
            values = np.stack([(vectors[:, i] * vectors[:, j]).sum(1) for i, j in PAIRS.values()], axis=1)
        else:
            shown = [Shown(collection, book.find(collection, key), condition) for key in keys]
            starts = range(0, len(shown), 4)
            pairs = [(shown[start + i], shown[start + j]) for start in starts for i, j in PAIRS.values()]
            values = answers.measure(pairs, condition).reshape(len(samples), len(PAIRS))
        columns["sample"].extend(samples)
        columns["condition"].extend([condition] * len(samples))
        for name, similarities in zip(PAIRS, values.T, strict=True):
            columns[name].extend(similarities)
        for name, oracle in zip(ORACLES, oracles.T, strict=True):
            columns[name].extend(oracle)
    if answers is not None:
        schema = with_counts(SCHEMA, answers.counts())
    write_table(output, columns, schema)
    if kept is not None:
        kept.clear()


def read_oracles(path: Path) -> tuple[Sequence[int], NDArray[np.float64]]:
    """Sample ids and the oracle `[samples, 2]` of each edit.

    Raises:
        UserError: the file or a mask in it is damaged.
    """
    names = [f"image_{view}_{mask}_mask" for view in (1, 2) for mask in ("part", "object")]
    rows = read_table(path, ["id", *names]).to_pylist()
    pixels = [[_count(image_bytes(row[name]), f"{path}: id {row['id']}, {name}") for name in names] for row in rows]
    areas = np.array(pixels, np.int64).reshape(len(rows), 2, 2)
    return [row["id"] for row in rows], grade_edits(areas[..., 0], areas[..., 1])


def grade_edits(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Oracle o = 1 - part / object of areas in pixels; an unknown part (negative) or object counts as a whole edit."""
    known = (part >= 0) & (whole > 0)
    return np.where(known, 1 - part / np.where(known, whole, 1), 0.0)


def _count(encoded: bytes | None, where: str) -> int:
    return -1 if encoded is None else int(decode_stored_mask(encoded, where).sum())
