"""A vision-language model that judges pairs, on this machine or behind an endpoint (docs/protocol.md 4.4)."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nearid.errors import UserError
from nearid.scores.answers import hash_pair
from nearid.scores.judging.reading import read_answer
from nearid.scores.scorers import Pair, Reading

if TYPE_CHECKING:
    from nearid.layout import Layout

logger = logging.getLogger(__name__)

DEFAULTS = {
    "max_new_tokens": 512,
    "timeout_s": 120.0,
    "concurrency": 8,
    "api_key_env": "OPENAI_API_KEY",
}


class Scorer:
    """Shows a judge two images and reads its score of 0 to 10, greedy; ties are common and lose.

    The entry names `model`, a folder of Qwen3-VL, or `endpoint` and `served_model`; `prompt`: a file of other words.

    Raises:
        UserError: neither or both are named.
    """

    def __init__(self, settings: Mapping[str, Any], layout: Layout) -> None:
        scorer = {**DEFAULTS, **settings["scorer"]}
        where = f"scorers.{settings['scorer_id']}"
        if bool(scorer.get("model")) == bool(scorer.get("endpoint")):
            raise UserError(
                where,
                f"model {scorer.get('model')!r}, endpoint {scorer.get('endpoint')!r}",
                "one of the two",
                "correct the config",
            )
        if scorer.get("prompt"):
            logger.info("%s: asked in the words of %s", where, scorer["prompt"])
        if scorer.get("endpoint"):
            if not scorer.get("served_model"):
                raise UserError(f"{where}.served_model", "nothing", "the name under which it is served", "add it")
            from nearid.scores.judging.endpoint import Judge as RemoteJudge

            self._judge: Any = RemoteJudge(scorer)
            # A chunk keeps all connections busy.
            self.batch_size = 8 * int(scorer["concurrency"])
        else:
            from nearid.scores.judging.local import Judge as LocalJudge

            self._judge = LocalJudge(scorer)
            # What a chunk holds is what the judge may answer side by side.
            self.batch_size = int(scorer.get("batch_size") or LocalJudge.most)

    def key(self, pair: Pair) -> str:
        """Hash of pixels, prompt and model."""
        return hash_pair(pair, False, self._judge.prompt.template, *self._judge.identity)

    def answer(self, pairs: Sequence[Pair]) -> Generator[tuple[int, str], None, None]:
        """Positions in `pairs` and the judge's own words."""
        yield from self._judge.answer(pairs)

    def read(self, answer: str) -> Reading:
        """Score / 10, and what was wrong with the answer."""
        return read_answer(answer)
