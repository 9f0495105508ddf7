"""Mean and spread over full runs with different seeds, and whether one scorer beats another by more than the spread."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from nearid.errors import UserError
from nearid.io.files import write_text
from nearid.io.sheets import plain_cell
from nearid.layout import Layout
from nearid.paper.metrics import Cell, Metrics, read_metrics

FACTOR = 2.0
# Metric of another benchmark than NearID-bench -> that benchmark, which takes the place of the group of sources.
BENCHMARK_OF = {**dict.fromkeys(("mtg_ssr", "mtg_pa", "m_o", "m_o_pair"), "mtg"), "m_h": "dreambench"}


@dataclass(frozen=True)
class Spread:
    """One metric of one scorer over the runs; `spread` is the sample standard deviation."""

    scorer: str
    group: str
    metric: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return fmean(self.values)

    @property
    def spread(self) -> float:
        """Sample standard deviation over the runs."""
        return stdev(self.values)


def write_seeds(layouts: Sequence[Layout], output: Path, ours: str, baseline: str) -> str:
    """Write seeds.csv and seeds.md to `output` and return the latter.

    Raises:
        UserError: fewer than two different runs, or runs that differ in scorers or groups.
    """
    runs = len({layout.root.resolve() for layout in layouts})
    if runs < max(2, len(layouts)):
        raise UserError("--results", f"{runs} different runs", "two at least, each once", "name one folder per seed")
    spreads = list(measure_spreads(layouts))
    text = "\n".join([*_table(layouts, spreads), "", *_verdict(spreads, ours, baseline)]) + "\n"
    write_text(output / "seeds.csv", _to_csv(layouts, spreads))
    write_text(output / "seeds.md", text)
    return text


def measure_spreads(layouts: Sequence[Layout]) -> Iterator[Spread]:
    """SSR and PA of every scorer and group, MTG's metrics and M-H, over the runs (full image)."""
    scorers = _same({layout.root: _scorers(layout) for layout in layouts}, "scorers")
    runs = [read_metrics(layout, scorers) for layout in layouts]
    for scorer in scorers:
        measured = [run[scorer] for run in runs]
        groups = _same(
            {layout.root: _groups(one) for layout, one in zip(layouts, measured, strict=True)}, f"groups of {scorer}"
        )
        for group in groups:
            for metric in ("ssr", "pa"):
                yield from _spread(scorer, group, metric, measured)
        for metric, benchmark in BENCHMARK_OF.items():
            yield from _spread(scorer, benchmark, metric, measured)


def read_spreads(path: Path) -> list[Spread]:
    """The rows of a seeds.csv that `write_seeds` wrote.

    Raises:
        UserError: the file is not such a table.
    """
    with path.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    try:
        return [
            Spread(scorer, group, metric, tuple(map(float, values))) for scorer, group, metric, _, _, *values in rows
        ]
    except ValueError as error:
        raise UserError(path, ",".join(header), "the seeds.csv of `nearid paper seeds`", "make it again") from error


def measure(own: Metrics, group: str, metric: str) -> Cell:
    """A run's own value for a row of seeds.csv."""
    if metric == "m_h":
        return own.m_h()
    return own.mtg(metric) if metric in BENCHMARK_OF else own.rate(metric, group)


def lead(mine: Spread, theirs: Spread) -> tuple[Spread, float]:
    """`mine` minus `theirs`, run by run, and the spread to beat: the largest of both scorers' and the differences'."""
    values = tuple(a - b for a, b in zip(mine.values, theirs.values, strict=True))
    leads = Spread(f"{mine.scorer} - {theirs.scorer}", mine.group, mine.metric, values)
    return leads, max(mine.spread, theirs.spread, leads.spread)


def exceeds(spreads: Sequence[Spread], ours: str, baseline: str, group: str) -> tuple[float, float, bool]:
    """Mean lead in SSR of `ours` over `baseline` in `group`, the spread to beat (`lead`), and whether it is beaten."""
    by_scorer = {spread.scorer: spread for spread in spreads if spread.group == group and spread.metric == "ssr"}
    leads, spread = lead(by_scorer[ours], by_scorer[baseline])
    return leads.mean, spread, leads.mean > FACTOR * spread


def _spread(scorer: str, group: str, metric: str, measured: Sequence[Metrics]) -> Iterator[Spread]:
    values = [measure(one, group, metric).value for one in measured]
    known = tuple(value for value in values if value is not None)
    # A metric that no run has (benchmark not selected) gives no row; one that only some runs have is an error.
    if len(known) == len(values):
        yield Spread(scorer, group, metric, known)
    elif known:
        raise UserError(
            f"{scorer}, {group}, {metric}", f"{len(known)} of {len(values)} runs have it", "all runs", "score the rest"
        )


def _scorers(layout: Layout) -> tuple[str, ...]:
    folders = layout.metrics("x").parents[1].glob("*/metrics.json")
    return tuple(sorted(path.parent.name for path in folders))


def _groups(metrics: Metrics) -> tuple[str, ...]:
    return tuple((metrics.content.get("nearid_bench") or {}).get("full", {}).get("groups", {}))


def _same(found: Mapping[Path, tuple[str, ...]], what: str) -> tuple[str, ...]:
    first = next(iter(found.values()))
    for root, names in found.items():
        if names != first or (what == "scorers" and not names):
            raise UserError(
                root, f"{what}: {', '.join(names) or 'none'}", ", ".join(first) or "some", "finish the runs"
            )
    return first


def _to_csv(layouts: Sequence[Layout], spreads: Sequence[Spread]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["scorer", "group", "metric", "mean", "spread", *(plain_cell(layout.root.name) for layout in layouts)]
    )
    for spread in spreads:
        writer.writerow(
            [*map(plain_cell, (spread.scorer, spread.group, spread.metric)), spread.mean, spread.spread, *spread.values]
        )
    return buffer.getvalue()


def _table(layouts: Sequence[Layout], spreads: Sequence[Spread]) -> list[str]:
    names = [layout.root.name for layout in layouts]
    lines = ["| " + " | ".join(["scorer", "group", "metric", "mean ± spread", *names]) + " |"]
    lines.append("| --- | --- | --- | --: |" + " --: |" * len(names))
    for spread in spreads:
        digits = 3 if spread.metric.startswith(("m_o", "m_h")) else 1
        values = " | ".join(f"{value:.{digits}f}" for value in spread.values)
        lines.append(
            f"| {spread.scorer} | {spread.group} | {spread.metric} |"
            f" {spread.mean:.{digits}f} ± {spread.spread:.{digits}f} | {values} |"
        )
    return lines


def _verdict(spreads: Sequence[Spread], ours: str, baseline: str) -> list[str]:
    scorers = {spread.scorer for spread in spreads}
    if not {ours, baseline} <= scorers:
        return [f"No verdict: {' and '.join(sorted({ours, baseline} - scorers))} not among the scorers."]
    lines = []
    for group in dict.fromkeys(spread.group for spread in spreads if spread.metric == "ssr"):
        gain, spread, beaten = exceeds(spreads, ours, baseline, group)
        lines.append(
            f"- {group}: {ours} is {gain:+.1f} points of SSR from {baseline}; {FACTOR:.0f} x spread is"
            f" {FACTOR * spread:.1f}: {'exceeded' if beaten else 'not exceeded'}."
        )
    return [
        *lines,
        "",
        "Spread: sample standard deviation over the runs; in the verdict the largest of both scorers' and"
        " of the differences'.",
    ]
