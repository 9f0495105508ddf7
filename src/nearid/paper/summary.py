"""The lines that a run prints at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nearid.config.settings.paper import Run, WriteSummary
from nearid.io.files import write_text
from nearid.layout import Layout
from nearid.paper.aims import AimResult, find_aims
from nearid.paper.effects import find_effects
from nearid.paper.metrics import Cell, Metrics, read_metrics
from nearid.paper.run import arrange_groups


def write_summary(settings: WriteSummary, layout: Layout) -> str:
    """Write paper/summary.txt and return it."""
    run = settings.run
    metrics = read_metrics(layout, [scorer.id for scorer in run.scorers])
    text = summarise(run, metrics, find_aims(settings, metrics))
    write_text(layout.paper("summary.txt"), text)
    return text


def summarise(run: Run, metrics: Mapping[str, Metrics], aims: Sequence[AimResult] = ()) -> str:
    """Headline numbers per scorer, which of the paper's effects hold, and which of the aims over seeds."""
    others = [group for group in arrange_groups(run) if group != run.headline_group]
    rated = any(metrics[scorer.id].m_h().value is not None for scorer in run.scorers)
    heads = ["SSR", "PA", *(f"SSR {group}" for group in others), "MTG SSR", "M-O", *(["M-H"] if rated else [])]
    width = max(len(scorer.display) for scorer in run.scorers)
    lines = ["A dress rehearsal on stand-ins: no number means anything."] if run.stand_ins else []
    lines += [
        f"{run.name}: NearID-bench on test identities, percent, pooled over group {run.headline_group}",
        " " * width + "".join(f"{head:>{_width(head)}}" for head in heads),
    ]
    for scorer in run.scorers:
        measured = metrics[scorer.id]
        texts = [
            _show(measured.rate("ssr", run.headline_group)),
            _show(measured.rate("pa", run.headline_group)),
            *(_show(measured.rate("ssr", group)) for group in others),
            _show(measured.mtg("mtg_ssr")),
            _show(measured.mtg("m_o"), digits=3),
            *([_show(measured.m_h(), digits=3)] if rated else []),
        ]
        cells = "".join(f"{text:>{_width(head)}}" for text, head in zip(texts, heads, strict=True))
        lines.append(f"{scorer.display:<{width}}{cells}")
    lines += ["", "The paper's effects on this run:"]
    for effect in find_effects(run, metrics):
        lines.append(f"  [{effect.verdict}] {effect.claim} ({effect.place}; {effect.numbers})")
    if aims:
        lines += ["", "What it should show over seeds (mean ± spread, and each run):"]
        lines += [f"  [{aim.verdict}] {aim.claim} ({aim.numbers})" for aim in aims]
    return "\n".join(lines) + "\n"


def _width(head: str) -> int:
    return max(7, len(head)) + 2


def _show(cell: Cell, digits: int = 1) -> str:
    return "—" if cell.value is None else f"{cell.value:.{digits}f}"
