"""Agreement with human ratings on DreamBench++: pure functions on ratings by key (docs/protocol.md 4.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearid.errors import UserError
from nearid.scores.bootstrap import interval
from nearid.scores.correlations import fisher_mean, pearson
from nearid.scores.ratings import Humans, Ratings, check_keys, subject_of

CATEGORIES = ("object", "live_subject_animal", "live_subject_human", "style")
HEADLINE = "object"
LIMIT = 0.9999


@dataclass(frozen=True)
class Alignment:
    """Agreement on one category.

    Attributes:
        methods: generation method -> mean of r with the two groups of annotators, and half the difference of the two
            (None if there is only one r).
        m_h: Fisher-z mean over the methods.
        error: standard error over the methods.
        pairs: rated pairs per method.
    """

    methods: dict[str, tuple[float, float | None]]
    m_h: float
    error: float
    pairs: int

    def describe(self) -> dict[str, object]:
        """As JSON."""
        methods = {name: {"value": value, "error": error} for name, (value, error) in self.methods.items()}
        return {"m_h": self.m_h, "error": self.error, "pairs": self.pairs, "methods": methods}


def align(scores: Mapping[str, Ratings], humans: Humans, category: str = HEADLINE) -> Alignment:
    """Agreement of a scorer with the two groups of annotators; each r is rounded to 4 decimals as in the release.

    Raises:
        UserError: a method is missing, or its keys differ from those that the humans rated or from other methods'.
    """
    ours, *groups = _tabulate(scores, humans, category)
    values: dict[str, tuple[float, float | None]] = {}
    for row, method in enumerate(humans):
        r = [round(pearson(ours[row], group[row]), 4) for group in groups]
        values[method] = (sum(r) / 2, abs(r[0] - r[1]) / 2)
    return _average(values, ours.shape[1])


def align_humans(humans: Humans, category: str = HEADLINE) -> Alignment:
    """Agreement of one group of annotators with the other, to judge a scorer's agreement by."""
    first, second = _tabulate(None, humans, category)
    values: dict[str, tuple[float, float | None]] = {
        method: (pearson(first[row], second[row]), None) for row, method in enumerate(humans)
    }
    return _average(values, first.shape[1])


def bound_alignment(
    scores: Mapping[str, Ratings], humans: Humans, category: str, seed: int, replicates: int = 1000
) -> tuple[float, float]:
    """95 % interval of M-H by resampling reference subjects, each with all its prompts and methods."""
    tables = _tabulate(scores, humans, category)
    keys = _keys_of(next(iter(humans.values()))[0], category)
    subjects: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        subjects.setdefault(subject_of(key), []).append(position)
    rows = list(subjects.values())

    def redraw(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        chosen = [position for subject in drawn for position in rows[subject]]
        ours, *groups = (table[:, chosen] for table in tables)
        r = [(pearson(ours[row], groups[0][row]) + pearson(ours[row], groups[1][row])) / 2 for row in range(len(ours))]
        return np.array([fisher_mean(r, LIMIT) if r else np.nan])

    return interval(redraw, len(rows), seed, replicates)[0]


def categories_of(humans: Humans) -> list[str]:
    """Categories that the humans rated, in the release's order."""
    keys = next(iter(humans.values()))[0]
    return [name for name in CATEGORIES if _keys_of(keys, name)]


def _keys_of(ratings: Ratings, category: str) -> list[str]:
    return sorted(key for key in ratings if key.startswith(f"{category}_"))


def _tabulate(scores: Mapping[str, Ratings] | None, humans: Humans, category: str) -> list[NDArray[np.float64]]:
    """Ratings `[methods, pairs]` of the scorer, if any, and of both groups, with equal keys in the columns."""
    by_file = {f"{method}, group {n + 1}": group for method, groups in humans.items() for n, group in enumerate(groups)}
    columns = [{method: groups[n] for method, groups in humans.items()} for n in range(2)]
    if scores is not None:
        by_file |= {f"{method}, scores": scores.get(method, {}) for method in humans}
        columns.insert(0, {method: scores.get(method, {}) for method in humans})
    check_keys(by_file)
    keys = _keys_of(next(iter(humans.values()))[0], category)
    if not keys:
        raise UserError(
            f"DreamBench++, category {category}",
            "no rated pair",
            f"pairs whose key starts with {category}_",
            f"choose one of {', '.join(categories_of(humans))}",
        )
    return [np.array([[ratings[key] for key in keys] for ratings in column.values()]) for column in columns]


def _average(values: dict[str, tuple[float, float | None]], pairs: int) -> Alignment:
    r = np.array([value for value, _ in values.values()])
    error = float(r.std(ddof=1) / np.sqrt(len(r))) if len(r) > 1 else float("nan")
    return Alignment(values, fisher_mean(r, LIMIT), error, pairs)
