"""Table 5: SSR and PA per distractor source, three columns per scorer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nearid.config.settings.paper import Run, Source
from nearid.paper.methods import ABOUT_PA, PRINTED_PA
from nearid.paper.metrics import Cell, Metrics
from nearid.paper.reference import METHODS, published_rows
from nearid.paper.run import arrange_groups, explain_absence, find_group, find_scorer
from nearid.paper.table import Column, Row, Table

_PAPER_SCORERS = ("siglip2", "qwen3vl_30b", "vsm", "nearid")
_PAPER_GROUPS = {"main7": "all7_main"}


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """Discrimination per source and per group of sources, full image (paper table 5)."""
    columns = tuple(_columns(run))
    rows = []
    for source in run.sources:
        cells = {column.id: _cell(run, column, metrics, source.id, "sources") for column in columns}
        labels = {"Res.": _resolution(source), "Group": find_group(run, source.id), "n": _counts(cells)}
        rows.append(Row(source.id, source.display, cells, source.id, labels, sources=(source.id,)))
    for index, (group, sources) in enumerate(arrange_groups(run).items()):
        cells = {column.id: _cell(run, column, metrics, group, "groups") for column in columns}
        labels = {"Group": group, "n": _counts(cells)}
        paper_row = f"avg_{_PAPER_GROUPS.get(group, group)}"
        display, first = f"Pooled: {group}", index == 0
        rows.append(Row(f"avg_{group}", display, cells, paper_row, labels, opens_block=first, sources=sources))
    return Table(
        "table5",
        "Discrimination per distractor source, full image",
        "Source",
        columns,
        tuple(rows),
        best_along="row",
        labels=("Res.", "Group", "n"),
        notes=(
            "Percent. Pools weight SSR by identities and PA by margins.",
            "n: identities with at least one valid margin, summed over the sources of a pool.",
            "Res.: side in pixels at which a source paints; in brackets the paper's, where it prints another.",
            ABOUT_PA,
        ),
    )


def _columns(run: Run) -> Iterator[Column]:
    shown = [(scorer.id, scorer.display, scorer.paper_row) for scorer in run.scorers]
    absent = [name for name in _PAPER_SCORERS if find_scorer(run, name) is None]
    for id, display, paper_row in [*shown, *((name, METHODS[name], name) for name in absent)]:
        for metric, printed in (("ssr", "ssr"), ("pa", None), ("pa_table", "pa")):
            paper_column = f"{paper_row}_{printed}" if printed and paper_row in _PAPER_SCORERS else None
            heading = PRINTED_PA if metric == "pa_table" else metric.upper()
            yield Column(f"{id}_{metric}", heading, display, metric, 1, paper_column, scorer=id)


def _cell(run: Run, column: Column, metrics: Mapping[str, Metrics], name: str, kind: str) -> Cell:
    scorer = column.id.removesuffix(f"_{column.metric}")
    if scorer in metrics:
        return metrics[scorer].rate(column.metric, name, kind)
    return Cell(reason=explain_absence(run, lambda other: other.paper_row == scorer))


def _counts(cells: Mapping[str, Cell]) -> str:
    counts = sorted({cell.count for id, cell in cells.items() if id.endswith("_ssr") and cell.count is not None})
    return "" if not counts else str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"


def _resolution(source: Source) -> str:
    """The paper prints the 512 pixels in which PowerPaint's images are kept; it paints at 640."""
    printed, ours = published_rows("table5").get(source.id, {}).get("resolution"), source.working_px
    return f"{ours} ({printed})" if ours and printed not in (None, ours) else str(ours or "")
