"""Whether the mean over runs with different seeds meets the config's aims (`paper.aims`), and this run's own number."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nearid.config.schema.paper import Aim
from nearid.config.settings.paper import Told
from nearid.errors import UserError
from nearid.paper.metrics import Metrics
from nearid.paper.seeds import BENCHMARK_OF, Spread, lead, measure, read_spreads

_NAMES = {"m_o": "M-O", "m_o_pair": "M-O of pairs", "m_h": "M-H", "mtg_ssr": "MTG SSR", "mtg_pa": "MTG PA"}
_BOUNDS = {"at_least": operator.ge, "at_most": operator.le, "above": operator.gt}


@dataclass(frozen=True)
class AimResult:
    """An aim, and whether the mean over the runs meets it.

    Attributes:
        bounds: in words, with the metric.
        over_seeds: mean, spread and each run's value.
        own: this run's value.
    """

    claim: str
    bounds: str
    over_seeds: str
    own: str
    holds: bool

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        return "holds" if self.holds else "does not hold"

    @property
    def numbers(self) -> str:
        """Bounds and values in one line."""
        return f"{self.bounds}; over seeds: {self.over_seeds}; this run: {self.own}"


def find_aims(settings: Told, metrics: Mapping[str, Metrics]) -> list[AimResult]:
    """The results for the aims in a step's settings; empty without aims.

    Raises:
        UserError: the table of runs lacks a number.
    """
    if not settings.aims:
        return []
    numbers = _Numbers(settings.seed_table, read_spreads(Path(settings.seed_table)), metrics)
    return [_judge(aim, settings.run.headline_group, numbers) for aim in settings.aims]


@dataclass(frozen=True)
class _Numbers:
    path: str
    spreads: list[Spread]
    metrics: Mapping[str, Metrics]

    def of_runs(self, scorer: str, group: str, metric: str) -> Spread:
        wanted = (scorer, BENCHMARK_OF.get(metric, group), metric)
        for spread in self.spreads:
            if (spread.scorer, spread.group, spread.metric) == wanted:
                return spread
        raise UserError(self.path, f"no row {', '.join(wanted)}", "one per aim (paper.aims)", "`nearid paper seeds`")

    def of_this_run(self, scorer: str, group: str, metric: str) -> float | None:
        return measure(self.metrics[scorer], group, metric).value if scorer in self.metrics else None


def _judge(aim: Aim, headline: str, numbers: _Numbers) -> AimResult:
    metric, group = aim.metric, aim.group or headline
    digits, sign = 3 if metric in ("m_o", "m_o_pair", "m_h") else 1, ""
    ours = (aim.scorer, group, metric)
    runs, own = numbers.of_runs(*ours), numbers.of_this_run(*ours)
    spread = runs.spread
    if aim.less or aim.less_group:
        other = (aim.less or aim.scorer, aim.less_group or group, metric)
        theirs = numbers.of_this_run(*other)
        runs, spread = lead(runs, numbers.of_runs(*other))
        own = None if own is None or theirs is None else own - theirs
        sign = "+"

    def show(value: float) -> str:
        return f"{value:{sign}.{digits}f}"

    bounds = [(key.replace("_", " "), getattr(aim, key), test) for key, test in _BOUNDS.items()]
    tests = [each for each in bounds if each[1] is not None]
    words = [f"{key} {bound:g}" for key, bound, _ in tests]
    if aim.spreads:
        limit = aim.spreads * spread
        tests.append(("above", limit, operator.gt))
        words.append(f"above {limit:.{digits}f}, {aim.spreads:g} times the spread")
    return AimResult(
        claim=aim.claim,
        bounds=f"{'difference in ' if sign else ''}{_NAMES.get(metric, metric.upper())} {' and '.join(words)}",
        over_seeds=f"{show(runs.mean)} ± {runs.spread:.{digits}f} ({', '.join(map(show, runs.values))})",
        own="not measured" if own is None else show(own),
        holds=all(test(runs.mean, bound) for _, bound, test in tests),
    )
