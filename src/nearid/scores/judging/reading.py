"""Tolerant parsing of a judge's answers: models wrap, truncate and misspell their JSON (docs/protocol.md 4.4)."""

from __future__ import annotations

import itertools
import json
import math
import re
from contextlib import suppress
from typing import Any

import json_repair

from nearid.scores.scorers import ParsedAnswer

HIGHEST = 10.0
LONGEST = 20_000
"""Characters of an answer that are read: several times the length of 512 tokens."""
LONGEST_REPAIR = 3_000
"""Longest invalid JSON that is repaired: the time grows with its square, and 20,000 characters took 90 seconds."""
DEEPEST = 50
"""Nested brackets; the repair of more takes minutes, or ends in an error."""
_SCORE = re.compile(r"""["']?score["']?\s*[:=]\s*["']?([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)""", re.IGNORECASE)


def read_answer(answer: str) -> ParsedAnswer:
    """Similarity score / 10 of an answer, clipped to [0, 1]; NaN if no score can be found. Never raises.

    Flags: `bad_json` (not even a repair gives an object), `bad_score` (no number for a score), `clipped` (a score
    outside the scale).
    """
    answer = answer[:LONGEST]
    entries = _repair(answer)
    flags = [] if entries else ["bad_json"]
    score = _number(next((value for key, value in entries.items() if str(key).lower() == "score"), None))
    if math.isnan(score):
        match = _SCORE.search(answer)
        score = _number(match[1] if match else None)
    if math.isnan(score):
        return ParsedAnswer(math.nan, (*flags, "bad_score"))
    clipped = min(max(score, 0.0), HIGHEST)
    if clipped != score:
        flags.append("clipped")
    return ParsedAnswer(clipped / HIGHEST, tuple(flags))


def _repair(answer: str) -> dict[Any, Any]:
    # From the first brace: before it there is prose or a code fence, and what follows the object is ignored.
    start = answer.find("{")
    if start < 0 or _depth(answer) > DEEPEST:
        return {}
    with suppress(ValueError):
        if isinstance(whole := json.JSONDecoder().raw_decode(answer, start)[0], dict) and whole:
            return whole
    if len(answer) - start > LONGEST_REPAIR:
        return {}
    try:
        found = json_repair.loads(answer[start:])
    except Exception:  # deep brackets, long numbers: reading a kept answer must never fail
        found = None
    candidates = found if isinstance(found, list) else [found]
    return next((entry for entry in candidates if isinstance(entry, dict) and entry), {})


def _depth(text: str) -> int:
    steps = ((sign in "{[") - (sign in "}]") for sign in text if sign in "{[]}")
    return max(itertools.accumulate(steps), default=0)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        number = float(str(value).split("/")[0])
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
