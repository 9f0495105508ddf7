"""All metrics of one scorer, each with its counts and confidence interval, from its similarities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nearid.config.settings.scores import SummariseScores
from nearid.errors import UserError
from nearid.io.files import write_json
from nearid.io.tables import read_table
from nearid.layout import Layout
from nearid.margins import directed_margins
from nearid.scores import dreambench, mtg, nearid_bench
from nearid.scores.answers import read_counts
from nearid.scores.bootstrap import interval, interval_of_sums
from nearid.scores.correlations import edit_correlations, oracle_agreement
from nearid.scores.human_alignment import HEADLINE
from nearid.scores.margins import SIMILARITIES, Columns, Rates, count_wins, edit_margins, pool, rate
from nearid.scores.masking import Difference, gain_in_agreement, gain_in_ssr

RATES = ("ssr", "ssr_mean", "pa", "pa_table")
TITLES = (
    ("nearid_bench", "nearid_bench", "NearID-bench"),
    ("mtg", "mtg", "MTG"),
    ("dreambench", "m_h", "DreamBench++"),
)
"""Benchmark, its key in the metrics, its display name."""
NOTHING = np.empty((0, 6))
Json = dict[str, Any]


def summarise(settings: SummariseScores, layout: Layout) -> None:
    """Write `scores/<scorer>/metrics.json`: its shape is in docs/formats.md.

    Args:
        settings: of the step.
        layout: of the results folder.

    Raises:
        UserError: a scores file is missing, or a source of a group is not in it.
    """
    scorer_id, benchmarks, seed = settings.scorer_id, settings.benchmarks, settings.seed
    reasons: dict[str, str] = {}
    metrics: Json = {"scorer": scorer_id, "headline_group": settings.headline_group, "reasons": reasons}
    metrics |= dict.fromkeys(name for _, name, _ in TITLES)
    masking: Json = {}
    if "nearid_bench" in benchmarks:
        table = read_table(layout.scores(scorer_id, "nearid_bench"), nearid_bench.SCHEMA.names)
        metrics["nearid_bench"] = summarise_nearid_bench(table, settings.groups, settings.headline_group, seed, reasons)
        if {"full", "fg"} <= metrics["nearid_bench"].keys():
            members = settings.groups[settings.headline_group]
            full, foreground = (
                [nearid_bench.select(table, source, side) for source in members] for side in ("full", "fg")
            )
            masking |= _difference("ssr", gain_in_ssr(full, foreground, seed))
    if "mtg" in benchmarks:
        table = read_table(layout.scores(scorer_id, "mtg"), mtg.SCHEMA.names)
        edits = _by_condition(table)
        metrics["mtg"] = {condition: summarise_mtg(columns, seed) for condition, columns in edits.items()}
        if {"full", "fg"} <= edits.keys():
            masking |= _difference("m_o", gain_in_agreement(edits["full"], edits["fg"], seed))
    metrics["masking"] = masking or None
    if "dreambench" in benchmarks:
        metrics |= dreambench.summarise_dreambench(
            layout.scores(scorer_id, "dreambench"),
            layout.raters if settings.simulated else Path(settings.dreambench or ""),
            seed,
        )
        if metrics["m_h"] is None:
            reasons["m_h"] = f"no pair of category {HEADLINE} has a score"
    for benchmark, name, title in TITLES:
        if benchmark not in benchmarks:
            reasons[name] = (settings.absent or {}).get(benchmark, f"{title} is not part of this run")
    answers = {name: read_counts(layout.scores(scorer_id, name)) for name in benchmarks}
    if any(answers.values()):
        metrics["answers"] = {name: counts for name, counts in answers.items() if counts is not None}
    write_json(layout.metrics(scorer_id), metrics)


def summarise_nearid_bench(
    table: pa.Table, groups: Mapping[str, Sequence[str]], headline_group: str, seed: int, reasons: dict[str, str]
) -> Json:
    """Rates per condition, source and group of a NearID-bench table, and the headline group's mean cosines.

    A group with a source that has no valid identity gets null rates, and `reasons` says why under the group's dotted
    path: the pool of the other sources would be mistaken for that of the whole group.

    Raises:
        UserError: a group names a source that the table lacks; `headline_group` is no group.
    """
    if headline_group not in groups:
        raise UserError("headline_group", headline_group, f"one of {', '.join(groups)}", "correct the config")
    metrics: Json = {}
    sources = nearid_bench.sources_of(table)
    for condition in table["condition"].unique().to_pylist():
        columns = {source: nearid_bench.select(table, source, condition) for source in sources}
        margins = {source: directed_margins(columns[source]) for source in sources}
        rates = {source: rate(margins[source]) for source in sources}
        counts = {source: count_wins(margins[source]) for source in sources}
        entries: Json = {"sources": {}, "groups": {}}
        for source in sources:
            entries["sources"][source] = _entry(rates[source], counts[source], [columns[source]], seed)
            if not rates[source].n:
                reasons[f"nearid_bench.{condition}.sources.{source}"] = "no identity has a valid margin"
        for group, members in groups.items():
            empty = [source for source in members if source in rates and not rates[source].n]
            if empty:
                reasons[f"nearid_bench.{condition}.groups.{group}"] = f"no valid margin for {', '.join(empty)}"
                pooled, total = rate(NOTHING), count_wins(NOTHING)
            else:
                pooled = pool(rates, members, f"groups.{group}, condition {condition}")
                total = np.sum([counts[source] for source in members], axis=0)
            entries["groups"][group] = _entry(pooled, total, [columns[source] for source in members], seed)
        entries["cosine"] = entries["groups"][headline_group]["cosine"]
        metrics[condition] = entries
    return metrics


def summarise_mtg(columns: Columns, seed: int) -> Json:
    """The MTG metrics of one condition."""
    margins = edit_margins(columns)
    counts = count_wins(margins)
    rates = rate(margins)

    def agree(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array(oracle_agreement({name: values[drawn] for name, values in columns.items()}))

    m_o, m_o_pair = oracle_agreement(columns)
    bounds = interval(agree, len(margins), seed)
    return {
        "m_o": m_o,
        "m_o_ci": _bounds(bounds[0]),
        "m_o_pair": m_o_pair,
        "m_o_pair_ci": _bounds(bounds[1]),
        # The paper's PA of MTG counts pairs only.
        **{f"mtg_{name}": value for name, value in _rates(rates, counts, seed).items() if "pa_table" not in name},
        "n": rates.n,
        "trials": rates.trials,
        "identities": rates.identities,
        "correlations": edit_correlations(columns),
    }


def _entry(rates: Rates, counts: NDArray[np.int64], columns: Sequence[Columns], seed: int) -> Json:
    return {
        **_rates(rates, counts, seed),
        "n": rates.n,
        "trials": rates.trials,
        "identities": rates.identities,
        "cosine": {
            "positive": _mean([table[name] for table in columns for name in SIMILARITIES]),
            "distractor": _mean([table[f"cross_{slot}{slot}"] for table in columns for slot in range(3)]),
            "random": _mean([table["random"] for table in columns]),
        },
    }


def _rates(rates: Rates, counts: NDArray[np.int64], seed: int) -> Json:
    # Identities are drawn, not trials: the margins of one identity, over all sources, are correlated.
    def of_sums(sums: NDArray[np.int64]) -> NDArray[np.float64]:
        success, mean_success, n, wins, trials = sums.T
        parts = np.stack([success, mean_success, wins, wins + mean_success], axis=1)
        wholes = np.stack([n, n, trials, trials + n], axis=1)
        return np.divide(100 * parts, wholes, out=np.full(parts.shape, np.nan), where=wholes > 0)

    bounds = interval_of_sums(of_sums, counts, seed)
    values: Json = {}
    for name, bound in zip(RATES, bounds, strict=True):
        values |= {name: _number(getattr(rates, name)), f"{name}_ci": _bounds(bound)}
    return values


def _by_condition(table: pa.Table) -> dict[str, dict[str, NDArray[np.float64]]]:
    parts = {name: table.filter(pc.field("condition") == name) for name in table["condition"].unique().to_pylist()}
    names = (*mtg.PAIRS, *mtg.ORACLES)
    return {condition: {name: part[name].to_numpy() for name in names} for condition, part in parts.items()}


def _difference(name: str, found: Difference) -> Json:
    value, bounds = found
    return {name: _number(value), f"{name}_ci": _bounds(bounds)}


def _mean(columns: Sequence[NDArray[np.float64]]) -> float | None:
    values = np.concatenate(columns)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _bounds(bounds: tuple[float, float]) -> list[float] | None:
    return None if np.isnan(bounds).any() else list(bounds)
