"""Reading scores/<scorer>/metrics.json as cells: a value with its interval and count, or a gap with its reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nearid.errors import UserError
from nearid.io.files import read_json
from nearid.layout import Layout


@dataclass(frozen=True)
class Cell:
    """One number of a table; `value` is None for a gap, and `reason` says why."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    count: int | None = None
    reason: str = ""


def subtract(first: Cell, second: Cell) -> Cell:
    """The difference of two values; its interval follows from theirs, symmetric or not (Zou and Donner 2008).

    This assumes that they are independent: the interval is too wide if they are positively correlated.
    """
    assert first.value is not None and second.value is not None
    difference = first.value - second.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Cell(difference)
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Cell(difference, difference - below, difference + above)


@dataclass(frozen=True)
class Metrics:
    """The measured metrics of one scorer."""

    scorer: str
    content: Mapping[str, Any]

    def rate(self, metric: str, name: str, kind: str = "groups", condition: str = "full") -> Cell:
        """A rate of a group or source (`kind` = groups | sources) of NearID-bench, in percent.

        `metric` is `ssr`, `ssr_mean`, `pa` or `pa_table` (`nearid.scores.margins.Rates`).
        """
        counts = {"pa": ("trials",), "pa_table": ("trials", "n")}.get(metric, ("n",))
        return self._cell(("nearid_bench", condition, kind, name), metric, *counts)

    def mtg(self, metric: str, condition: str = "full") -> Cell:
        """`m_o`, `m_o_pair`, `mtg_ssr` or `mtg_pa` (docs/protocol.md 2)."""
        return self._cell(("mtg", condition), metric, "trials" if metric == "mtg_pa" else "n")

    def masked(self, metric: str) -> Cell:
        """Gain in `ssr` (headline group) or `m_o` when the background is masked, with its interval."""
        headline = self.content["headline_group"]
        full, foreground = (
            self.rate(metric, headline, condition=side) if metric == "ssr" else self.mtg(metric, side)
            for side in ("full", "fg")
        )
        if full.value is None or foreground.value is None:
            return Cell(reason=full.reason or foreground.reason)
        low, high = (self.content.get("masking") or {}).get(f"{metric}_ci") or (None, None)
        return Cell(foreground.value - full.value, low, high)

    def m_h(self) -> Cell:
        """Alignment with humans on DreamBench++ (docs/protocol.md 4.6)."""
        value = self.content.get("m_h")
        if value is None:
            return Cell(reason=self._reason(("m_h",)))
        low, high = self.content.get("m_h_ci") or (None, None)
        return Cell(value=value, low=low, high=high)

    def alignment(self, method: str | None, who: str = "categories", category: str = "object") -> tuple[Cell, Cell]:
        """M-H and its +- for one generation `method`, or over all (None); `who` = categories (the scorer) | humans."""
        node = ((self.content.get("dreambench") or {}).get(who) or {}).get(category) or {}
        value, error = node.get("m_h"), node.get("error")
        if method is not None:
            entry = (node.get("methods") or {}).get(method) or {}
            value, error = entry.get("value"), entry.get("error")
        if value is None:
            rated = self.content.get("m_h") is not None
            gap = Cell(reason=f"nobody rated category {category}" if rated else self._reason(("m_h",)))
            return gap, gap
        return Cell(value=value, count=node.get("pairs")), Cell(value=error, reason="a single correlation has none")

    def cosine(self, pair: str, condition: str = "full") -> Cell:
        """Mean cosine of `positive`, `distractor` or `random` pairs."""
        return self._cell(("nearid_bench", condition, "cosine"), pair, "n")

    def _cell(self, path: tuple[str, ...], metric: str, *counts: str) -> Cell:
        node: Any = self.content
        for part in path:
            node = (node or {}).get(part)
        if not node or node.get(metric) is None:
            return Cell(reason=self._reason((*path, metric)))
        low, high = node.get(f"{metric}_ci") or (None, None)
        known = [node[count] for count in counts if node.get(count) is not None]
        return Cell(value=node[metric], low=low, high=high, count=sum(known) if known else None)

    def _reason(self, path: tuple[str, ...]) -> str:
        reasons = self.content.get("reasons", {})
        candidates = [".".join(path[:end]) for end in range(len(path), 0, -1)] + [path[-1]]
        return next((reasons[key] for key in candidates if key in reasons), f"{'.'.join(path)} was not measured")


def read_metrics(layout: Layout, scorers: Iterable[str]) -> dict[str, Metrics]:
    """The metrics of `scorers` by id.

    Raises:
        UserError: a scorer of the run has no metrics; a table must not silently lose a row.
    """
    found = {}
    for scorer in scorers:
        path = layout.metrics(scorer)
        if not path.is_file():
            raise UserError(path, "no such file", f"the metrics of scorer {scorer}", "run `nearid scores summarise`")
        found[scorer] = Metrics(scorer, read_json(path))
    return found
