"""Success rates of margins: pure functions on columns of similarities (docs/protocol.md 4.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearid.errors import UserError
from nearid.margins import VIEW_PAIRS, strict_success

SIMILARITIES = tuple(f"sim_{i}{j}" for i, j in VIEW_PAIRS)
CROSSES = tuple(f"cross_{i}{j}" for i in range(3) for j in range(3))

Columns = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Rates:
    """Success rates in percent, each with the count that it rests on; NaN where that count is 0.

    Attributes:
        ssr: identities whose valid margins are all positive, among those with one at least (the paper's SSR).
        ssr_mean: identities whose mean valid margin is positive (what the authors' code calls `SSR`).
        pa: positive margins among the valid ones.
        n: identities with a valid margin.
        trials: valid margins.
        identities: all identities, including those without a valid margin.
    """

    ssr: float
    ssr_mean: float
    pa: float
    n: int
    trials: int
    identities: int

    @property
    def pa_table(self) -> float:
        """PA as in the paper's tables: with one more trial per identity, won if its mean margin is positive."""
        return (self.pa * self.trials + self.ssr_mean * self.n) / (self.trials + self.n) if self.n else float("nan")


def edit_margins(columns: Columns) -> NDArray[np.float64]:
    """Margins `[samples, 2]` of MTG: the two originals against an original and its edited copy (docs/protocol.md 2)."""
    return np.stack([columns["s_12"] - columns["s_11e"], columns["s_12"] - columns["s_22e"]], axis=1)


def count_wins(margins: NDArray[np.float64]) -> NDArray[np.int64]:
    """Per identity `[identities, 5]`: SSR success, mean success, valid (0 or 1 each), wins, trials.

    A win is strictly positive (a tie loses); NaN is no trial. Sums of these columns, over identities and over
    sources, are all that the rates and their confidence intervals need.
    """
    valid = ~np.isnan(margins)
    trials = valid.sum(1)
    wins = (valid & (margins > 0)).sum(1)
    any_valid = trials > 0
    mean_wins = any_valid & (np.nansum(margins, axis=1) > 0)
    return np.stack([strict_success(margins), mean_wins, any_valid, wins, trials], axis=1).astype(np.int64)


def rate(margins: NDArray[np.float64]) -> Rates:
    """The rates of `margins` `[identities, directions]`; those without a valid margin count in `identities` only."""
    success, mean_success, n, wins, trials = (int(total) for total in count_wins(margins).sum(0))
    return Rates(
        _percent(success, n), _percent(mean_success, n), _percent(wins, trials), n, trials, identities=len(margins)
    )


def pool(rates: Mapping[str, Rates], sources: Iterable[str], where: object) -> Rates:
    """Rates of a group of sources: SSR weighted by valid identities, PA by trials (docs/protocol.md 4.1).

    Raises:
        UserError: a source has no rates, or none of its identities is valid; `where` names the group. Without that
            source the pool would be another number under the same name.
    """
    sources = list(sources)
    missing = [source for source in sources if source not in rates or not rates[source].n]
    if missing or not sources:
        raise UserError(
            where,
            f"no valid score for source {', '.join(missing)}" if missing else "a group without sources",
            f"scores of every source of the group ({', '.join(sources)})",
            "make and score the missing distractors, or take the source out of the group",
        )
    parts = [rates[source] for source in sources]
    n, trials = sum(part.n for part in parts), sum(part.trials for part in parts)
    return Rates(
        ssr=sum(part.ssr * part.n for part in parts) / n,
        ssr_mean=sum(part.ssr_mean * part.n for part in parts) / n,
        pa=sum(part.pa * part.trials for part in parts) / trials,
        n=n,
        trials=trials,
        identities=sum(part.identities for part in parts),
    )


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float("nan")
