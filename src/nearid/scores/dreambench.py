"""DreamBench++: a scorer's similarity of reference and generated image, held against human ratings (data.md 4.6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nearid.scores.human_alignment import align, align_humans, categories_of
from nearid.scores.ratings import METHODS, read_release

Json = dict[str, Any]


def compare_release(folder: Path, category: str) -> Json:
    """Agreement of a release's ratings with the humans', and of the humans with each other, in one category.

    Raises:
        UserError: a file is missing or damaged, or has other keys than the rest.
    """
    humans, scored = read_release(folder)
    report: Json = {"category": category, "categories_rated": categories_of(humans)}
    report["human_human"] = align_humans(humans, category).describe()
    report["scorers"] = {name: align(ratings, humans, category).describe() for name, ratings in scored.items()}
    report["pairs"] = report["human_human"]["pairs"]
    return report


def format_report(report: Json) -> str:
    """The report of `compare_release` as a table for people: a row per method, a column per set of ratings."""
    columns = {"human-human": report["human_human"], **report["scorers"]}
    lines = [f"{report['category']}: {report['pairs']} pairs per method"]
    lines.append(" ".join([f"{'':<28}", *(f"{name:>15}" for name in columns)]))
    for row in (*METHODS, "M-H"):
        cells = [
            (entry["m_h"], entry["error"]) if row == "M-H" else tuple(entry["methods"][row].values())
            for entry in columns.values()
        ]
        shown = (f"{value:>8.3f} " + ("      " if error is None else f"±{error:.3f}") for value, error in cells)
        lines.append(" ".join([f"{row:<28}", *shown]).rstrip())
    return "\n".join(lines)
