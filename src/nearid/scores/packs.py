"""Scorers that read the same tokens: one job reads them once for all that have no current scores.

What it computes for another scorer is kept beside that scorer's scores, where the scorer's own job finds it. So each
scorer keeps its own files and job in the workflow, and after adding one only the new one is scored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from nearid.config.settings.scores import Score
from nearid.errors import UserError
from nearid.io.hashing import hash_json
from nearid.io.locks import lock
from nearid.layout import Layout
from nearid.scores.embeddings import TokenEmbedder, Vectors
from nearid.scores.kept import KeptSources, KeptVectors
from nearid.scores.scorers import Embedder, load_scorer

logger = logging.getLogger(__name__)

Columns = Mapping[str, Any]
Job = tuple[Score, str]
"""Settings of a step for another scorer, and the fingerprint of its code."""


@dataclass(eq=False)
class PackedScorer:
    """One scorer of a pack.

    Args:
        settings: of the step.
        scorer: what embeds.
        stand: its current scores, by part.
        todo: the parts without current scores.
        kept: its vectors, with those of a stopped run.
        stopped: the error for which it gets no scores here; its own job will report it.
    """

    settings: Score
    scorer: Embedder
    stand: KeptSources
    todo: list[str]
    kept: KeptVectors
    stopped: UserError | None = None
    made: dict[str, Columns] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Id of the scorer."""
        return self.settings.scorer_id


Key = Callable[[Embedder, Score, str], Mapping[str, str]]
"""From a scorer, its settings and code to part -> hash of all that its scores depend on; empty keeps nothing."""
Embed = Callable[[Sequence[Embedder]], Sequence[Vectors | UserError]]
"""Vectors by each of these scorers, or the error of one that fails."""


class Pack:
    """A scorer and the others that can be scored in the same pass; the scorer is the first of `members`.

    While it is open no other job computes these scores: a job that waits for its turn finds them done.

    Args:
        scorer: whose job this is.
        settings, code: of its step.
        output: its scores file.
        along: others that read the same tokens.
        layout: of the results folder.
        benchmark: whose scores they are.
        key: see `Key`.
        schema: of the columns.
    """

    def __init__(
        self,
        scorer: Embedder,
        settings: Score,
        code: str,
        output: Path,
        along: Sequence[Job],
        layout: Layout,
        benchmark: str,
        key: Key,
        schema: pa.Schema,
    ) -> None:
        self._key, self._schema = key, schema
        self._layout, self._benchmark, self._along = layout, benchmark, along
        self._lock = ExitStack()
        own = partial(self._join, scorer, settings, code, output)
        self.members = [own()]
        if self.members[0].todo and along:
            assert settings.backbone_id is not None
            folder = layout.pack_of_scores(benchmark, settings.backbone_id)
            self._lock.enter_context(lock(folder, "scores this benchmark by heads of this backbone", wait=True))
            self.members = [own()]
        if self.members[0].todo and isinstance(scorer, TokenEmbedder):
            self.members += self._find_others(scorer)

    def __enter__(self) -> Pack:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def _find_others(self, scorer: TokenEmbedder) -> Iterator[PackedScorer]:
        for settings, code in self._along:
            try:
                other = load_scorer(settings, self._layout)
                assert isinstance(other, TokenEmbedder)
                other.share_origins(scorer)
                path = self._layout.scores(settings.scorer_id, self._benchmark)
                member = self._join(other, settings, code, path)
            except UserError:
                continue  # its head is missing or damaged, which its own job will report
            if member.todo:
                yield member

    def _join(self, scorer: Embedder, settings: Score, code: str, output: Path) -> PackedScorer:
        keys = self._key(scorer, settings, code)
        stand = KeptSources(output, keys, self._schema)
        todo = [part for part in keys if not stand.has(part)]
        kept = KeptVectors(output, (all(keys.values()) and todo and hash_json([dict(keys), todo])) or "")
        return PackedScorer(settings, scorer, stand, todo, kept)

    def wanting(self, *parts: str) -> list[PackedScorer]:
        """Members that still have any of these parts to do."""
        return [one for one in self.members if not one.stopped and set(parts) & set(one.todo)]

    def embed(self, members: Sequence[PackedScorer], embed: Embed) -> list[tuple[PackedScorer, Vectors]]:
        """Vectors by each member, from a stopped run or computed now; other scorers are left out once they fail.

        Raises:
            UserError: the first of all members fails.
        """
        found = {id(one): vectors for one in members if (vectors := one.kept.take()) is not None}
        new = [one for one in members if id(one) not in found]
        for one, made in zip(new, embed([one.scorer for one in new]) if new else (), strict=True):
            if not isinstance(made, UserError):
                one.kept.put(made)
                found[id(one)] = made
            elif one is self.members[0]:
                raise made
            else:
                one.stopped = made
                logger.warning("%s is left to its own job:\n%s", one.name, made)
        return [(one, found[id(one)]) for one in members if id(one) in found]

    def close(self) -> dict[str, Columns]:
        """Keep what was made for each member; returns the first member's columns by part."""
        own = self.members[0]
        for one in self.members:
            if not one.stopped:
                # All parts at once: the key of a stopped run's vectors depends on the parts that are still to do.
                for part, columns in one.made.items():
                    one.stand.put(part, columns)
        return {part: own.made.get(part) or own.stand.get(part).to_pydict() for part in own.stand.parts}

    def clear(self) -> None:
        """Remove the vectors; call it once the first member's scores are written."""
        for one in self.members:
            if not one.stopped:
                one.kept.clear()


def each_embeds(
    scorers: Sequence[Embedder],
    alone: Callable[[Embedder], Vectors],
    together: Callable[[Sequence[TokenEmbedder]], list[Vectors | UserError]],
) -> Sequence[Vectors | UserError]:
    """Vectors by one scorer (`alone`) or by several (`together`), which are always ones that read tokens."""
    if len(scorers) == 1:
        return [alone(scorers[0])]
    return together([scorer for scorer in scorers if isinstance(scorer, TokenEmbedder)])
