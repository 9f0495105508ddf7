"""The data set in numbers: identities, views, splits, distractors per source, beside the paper's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from nearid.config.settings.paper import Run
from nearid.io.files import read_json
from nearid.io.tables import read_table
from nearid.layout import Layout
from nearid.paper.metrics import Cell
from nearid.paper.reference import published_rows
from nearid.paper.run import NOT_RUN
from nearid.paper.table import Column, Row, Table

_NAMES = {
    "identities": "Identities",
    "two_views": "with two views",
    "three_views": "with three views",
    "images": "Images",
    "train": "Identities for training",
    "val": "for validation",
    "test": "for test",
    "mtg_train": "Part edits for training",
    "mtg_test": "Part edits for test",
    "dropped": "Records and views dropped",
    "distractors": "Distractors of the headline group's sources",
}
COUNT = "count"


def build_from_data(run: Run, layout: Layout) -> Table:
    """Counts of what the run made; distractors that could not be painted do not count."""
    identities = read_table(layout.identities, ["split", "n_images"]).to_pylist()
    views = Counter(row["n_images"] for row in identities)
    splits = Counter(row["split"] for row in identities)
    found: dict[str, int | None] = {
        "identities": len(identities),
        "two_views": views[2],
        "three_views": views[3],
        "images": sum(row["n_images"] for row in identities),
        **{split: splits[split] for split in ("train", "val", "test")},
        **{f"mtg_{split}": _count_edits(layout, split) for split in ("train", "test")},
        "dropped": sum(1 for _ in layout.dropped.open()) - 1,
    }
    painted = {source.id: _count_painted(layout, source.id) for source in run.sources}
    pooled = [painted[source] for source in run.groups.get(run.headline_group, ())]
    found |= painted | {"distractors": None if None in pooled else sum(count for count in pooled if count is not None)}
    names = _NAMES | {source.id: f"Distractors of {source.display}" for source in run.sources}
    return Table(
        "data",
        "The data set",
        "What",
        (Column(COUNT, "Count", "", COUNT, 0, COUNT),),
        tuple(_row(name, names, found) for name in _order(found)),
        best_along=None,
        labels=("Paper",),
        notes=(
            "A source that no head is trained on is painted for validation and test identities only, or for those that "
            "its entry says (sources.<id>.splits).",
            "The paper prints 6,433 identities with three views, which gives neither of its totals.",
        ),
    )


def _row(name: str, names: dict[str, str], found: dict[str, int | None]) -> Row:
    printed = published_rows("data").get(name, {}).get(COUNT)
    value = found.get(name)
    cell = Cell(reason=NOT_RUN) if value is None else Cell(value, count=value)
    labels = {"Paper": "" if printed is None else f"{printed:,}"}
    return Row(
        name,
        names.get(name, f"Distractors of {_printed_source(name)}"),
        {COUNT: cell},
        name,
        labels,
        name in ("dropped",),
    )


def _printed_source(name: str) -> str:
    """A source of the paper that this run does not have, by the paper's name and resolution."""
    printed = published_rows("table5").get(name)
    return f"{printed['source']} {printed['resolution']}" if printed else name


def _order(found: Iterable[str]) -> list[str]:
    """Row names in order: the paper's, our own sources, the total, dropped records."""
    order = [name for name in published_rows("data") if name != "distractors"]
    own = [name for name in found if name not in order and name not in ("dropped", "distractors")]
    return [*order, *own, "distractors", "dropped"]


def _count_edits(layout: Layout, split: str) -> int | None:
    path = layout.mtg(split)
    return read_table(path, ["id"]).num_rows if path.is_file() else None


def _count_painted(layout: Layout, source: str) -> int | None:
    """Images of a source, from its shards' reports; None if it has none."""
    reports = [read_json(path) for path in sorted(layout.distractor_report(source, "*").parent.glob("*.report.json"))]
    return sum(report["painted"] for report in reports) if reports else None
