"""A vision-language model that judges pairs, on this machine or behind an endpoint (docs/protocol.md 4.4)."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from nearid.config.settings.scores import LocalJudge, ServedJudge
from nearid.scores.answers import hash_pair
from nearid.scores.judging.reading import read_answer
from nearid.scores.scorers import Pair, ParsedAnswer

if TYPE_CHECKING:
    from nearid.config.settings.scores import Score
    from nearid.layout import Layout
    from nearid.scores.judging import endpoint, local

logger = logging.getLogger(__name__)


class Scorer:
    """Shows a judge two images and reads its score of 0 to 10; decoding is greedy, and ties, which are common, lose.

    The entry names `model`, a folder of Qwen3-VL, or `endpoint` and `served_model`; `prompt` is another prompt's file.
    """

    def __init__(self, settings: Score, layout: Layout) -> None:
        scorer = settings.scorer
        assert isinstance(scorer, LocalJudge | ServedJudge)
        if scorer.prompt:
            logger.info("scorers.%s: asked in the words of %s", settings.scorer_id, scorer.prompt)
        self._judge = _open(scorer)
        self.batch_size = self._judge.batch_size

    def key(self, pair: Pair) -> str:
        """Hash of pixels, prompt and model."""
        return hash_pair(pair, False, self._judge.prompt.template, *self._judge.identity)

    def answer(self, pairs: Sequence[Pair]) -> Generator[tuple[int, str], None, None]:
        """Positions in `pairs` and the judge's answers."""
        yield from self._judge.answer(pairs)

    def read(self, answer: str) -> ParsedAnswer:
        """Score / 10, and what was wrong with the answer."""
        return read_answer(answer)


def _open(scorer: LocalJudge | ServedJudge) -> endpoint.Judge | local.Judge:
    """The judge that an entry names; only its own module is imported."""
    if isinstance(scorer, ServedJudge):
        from nearid.scores.judging import endpoint

        return endpoint.Judge(scorer)
    from nearid.scores.judging import local

    return local.Judge(scorer)
