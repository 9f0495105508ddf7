"""Answers of pair scorers, kept beside the scores: no pair is asked twice, and a stopped run continues."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nearid.config.settings.scores import Score
from nearid.errors import UserError
from nearid.io.files import write_bytes
from nearid.io.hashing import hash_json
from nearid.io.progress import track
from nearid.scores.scorers import Pair, PairScorer, Shown

COUNTS = b"nearid.answers"


class Answers:
    """Measures pairs by a scorer's answers, kept in a file of JSON lines with `key`, `shown` and `answer`.

    The key is a hash of all that an answer depends on, so answers are never stale, and those of an earlier run, with
    fewer sources for example, are reused. The file grows line by line (flushed at once, synced to disk per chunk); a
    line that a kill has truncated is dropped when the file is opened again.

    Args:
        scorer: whose answers they are.
        path: of the file; one per scorer and benchmark.
        label: names the step in progress lines.

    Raises:
        UserError: the file holds something else.
    """

    def __init__(self, scorer: PairScorer, path: Path, label: str) -> None:
        self._scorer, self._path, self._label = scorer, path, label
        self._known = _read(path)
        self._used: set[str] = set()

    def measure(self, pairs: Sequence[Pair], what: str) -> NDArray[np.float64]:
        """Similarities `[pairs]`; equal pairs are asked once. `what` names the pairs in progress lines.

        NaN if the answer has no score, and for the foreground of an image that has no mask.
        """
        keys = [None if _lacks_mask(pair) else self._scorer.key(pair) for pair in pairs]
        unique = [(key, pair) for key, pair in dict(zip(keys, pairs, strict=True)).items() if key is not None]
        self._used.update(key for key, _ in unique)
        size = self._scorer.batch_size
        chunks = [unique[start : start + size] for start in range(0, len(unique), size)]
        todo = [[(key, pair) for key, pair in chunk if key not in self._known] for chunk in chunks]
        todo = [chunk for chunk in todo if chunk]
        if todo:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as stream:
                for chunk in track(todo, f"{self._label}, {what}", len(chunks), len(chunks) - len(todo)):
                    # Closed at once if this run ends, so that it does not wait for questions in flight.
                    with closing(self._scorer.answer([pair for _, pair in chunk])) as answers:
                        for position, answer in answers:
                            key, pair = chunk[position]
                            shown = [_describe(side) for side in pair]
                            stream.write(json.dumps({"key": key, "shown": shown, "answer": answer}) + "\n")
                            stream.flush()
                            self._known[key] = answer
                    os.fsync(stream.fileno())
        read = {key: self._scorer.read(self._known[key]).similarity for key, _ in unique}
        return np.array([np.nan if key is None else read[key] for key in keys], np.float64)

    def counts(self) -> dict[str, int]:
        """Number of different pairs measured, and of answers with each flag; the same in a resumed run."""
        readings = [self._scorer.read(self._known[key]) for key in sorted(self._used)]
        flags = Counter(flag for reading in readings for flag in reading.flags)
        return {"pairs": len(readings), **dict(sorted(flags.items()))}


def answers_path(output: Path) -> Path:
    """The file of answers that belongs to the scores file `output`."""
    return output.with_suffix(".answers.jsonl")


def with_counts(schema: pa.Schema, counts: Mapping[str, int]) -> pa.Schema:
    """`schema` with the counts of a scorer's answers as metadata, so that they are stored with the scores."""
    return schema.with_metadata({**(schema.metadata or {}), COUNTS: json.dumps(counts)})


def read_counts(path: Path) -> dict[str, int] | None:
    """The counts of answers in a scores file's metadata; None if an embedder made it."""
    counts = (pq.read_schema(path).metadata or {}).get(COUNTS)
    return None if counts is None else json.loads(counts)


def refuse_rated(settings: Score, benchmark: str) -> UserError:
    """The error for a scorer that has released ratings only."""
    return UserError(
        f"scorers.{settings.scorer_id}",
        f"kind {settings.scorer.kind}, which has ratings of DreamBench++ alone",
        f"a scorer that can look at {benchmark}'s images",
        "add `benchmarks: [dreambench]` to its entry",
    )


def hash_pair(pair: Pair, masked: bool, *rest: object) -> str:
    """Hash of what a scorer is shown, and of `rest`: further JSON values that the answer depends on.

    Args:
        pair: the two images.
        masked: whether masks matter in any condition; else they do in `fg` only.
        rest: model, prompt, settings.
    """
    sides = []
    for _, picture, condition in pair:
        mask = picture.mask if masked or condition == "fg" else None
        sides.append([hashlib.sha256(part or b"").hexdigest() for part in (picture.image, mask)])
    return hash_json([sides, *rest])[:32]


def _lacks_mask(pair: Pair) -> bool:
    return any(side.condition == "fg" and side.picture.mask is None for side in pair)


def _describe(side: Shown) -> str:
    return f"{side.collection} id {side.picture.id} slot {side.picture.slot} {side.condition}"


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_bytes(path, whole)
    known = {}
    for number, line in enumerate(whole.decode(errors="replace").splitlines(), 1):
        try:
            entry = json.loads(line)
            known[str(entry["key"])] = str(entry["answer"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}, line {number}", f"no answer ({error!r})", "a JSON line with key and answer", "remove the line"
            ) from error
    return known
