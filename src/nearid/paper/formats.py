"""Tables as CSV, LaTeX (booktabs) and Markdown."""

from __future__ import annotations

import csv
import io
import re

from nearid.io.files import write_text
from nearid.io.sheets import plain_cell
from nearid.layout import Layout
from nearid.paper.table import Column, Row, Table

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def write_table(table: Table, layout: Layout) -> None:
    """Write `table` in its three forms."""
    for suffix, form in {"csv": to_csv, "tex": to_latex, "md": to_markdown}.items():
        write_text(layout.table(table.name, suffix), form(table))


def to_csv(table: Table) -> str:
    """One line per row; each value unrounded, with interval, count and its difference to a baseline.

    `gaps` says why values are missing.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    parts = ("", "_low", "_high", "_count") + (("_delta",) if table.baseline else ())
    writer.writerow(
        ["id", table.key.lower(), *(label.lower() for label in table.labels)]
        + [column.id + part for column in table.columns for part in parts]
        + ["gaps"]
    )
    for row in table.rows:
        numbers: list[object] = []
        gaps: dict[str, list[str]] = {}
        for column in table.columns:
            cell = row.cells[column.id]
            numbers += [cell.value, cell.low, cell.high, cell.count]
            numbers += [table.delta(row, column)] if table.baseline else []
            if cell.value is None:
                gaps.setdefault(cell.reason, []).append(column.id)
        why = "; ".join(f"{' '.join(columns)}: {reason}" for reason, columns in gaps.items())
        texts = [row.id, row.display, *(row.labels.get(label, "") for label in table.labels)]
        writer.writerow([*map(plain_cell, texts), *numbers, plain_cell(why)])
    return buffer.getvalue()


def to_markdown(table: Table) -> str:
    """A pipe table, best values bold (second underlined, third italic), reasons for gaps below it."""
    places, marks = table.places(), table.gap_marks()

    def show(row: Row, column: Column) -> str:
        shown = table.shown(row, column)
        if shown is None:
            return f"— <sup>{marks[row.cells[column.id].reason]}</sup>"
        delta = table.shown_delta(row, column)
        marked = {1: f"**{shown}**", 2: f"<u>{shown}</u>", 3: f"*{shown}*"}.get(
            places.get((row.id, column.id), 0), shown
        )
        return f"{marked} ({delta})" if delta else marked

    heads = [_escape_markdown(f"{column.spanner} {column.display}".strip()) for column in table.columns]
    lines = [f"**{table.title}**", ""]
    lines.append(_pipes([table.key, *table.labels, *heads]))
    lines.append(_pipes(["---"] * (1 + len(table.labels)) + ["--:"] * len(heads)))
    for row in table.rows:
        texts = [row.display, *(row.labels.get(label, "") for label in table.labels)]
        texts = [_escape_markdown(text) for text in texts]
        lines.append(_pipes([*texts, *(show(row, column) for column in table.columns)]))
    notes = [_escape_markdown(note) for note in table.notes]
    notes += [f"<sup>{mark}</sup> {_escape_markdown(reason)}" for reason, mark in marks.items()]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def to_latex(table: Table) -> str:
    """A `table` environment for a document that loads `booktabs` and `graphicx`; marks as in Markdown."""
    places, marks = table.places(), table.gap_marks()

    def show(row: Row, column: Column) -> str:
        shown = table.shown(row, column)
        if shown is None:
            return f"--\\textsuperscript{{{marks[row.cells[column.id].reason]}}}"
        delta = table.shown_delta(row, column)
        mark = {1: "textbf", 2: "underline", 3: "textit"}.get(places.get((row.id, column.id), 0))
        marked = f"\\{mark}{{{shown}}}" if mark else shown
        return f"{marked} {{\\scriptsize ({delta})}}" if delta else marked

    texts = 1 + len(table.labels)
    spans, rules, start = [""] * texts, [], texts + 1
    for spanner, width in table.spanners():
        spans.append(f"\\multicolumn{{{width}}}{{c}}{{{escape_latex(spanner)}}}")
        rules.append(f"\\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    heads = [table.key, *table.labels, *(column.display for column in table.columns)]
    body = []
    for row in table.rows:
        names = [row.display, *(row.labels.get(label, "") for label in table.labels)]
        body += [r"\midrule"] if row.opens_block else []
        body.append(_line([*map(escape_latex, names), *(show(row, column) for column in table.columns)]))
    notes = [*table.notes, *(f"({mark}) {reason}" for reason, mark in marks.items())]
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            # Document classes that expect captions below a table leave no space under a caption.
            r"\setlength{\belowcaptionskip}{6pt}",
            f"\\caption{{{escape_latex(table.title)}}}",
            f"\\label{{tab:{table.name}}}",
            # Scaled down if wider than the text, never scaled up.
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"\\begin{{tabular}}{{{'l' * texts}{'r' * len(table.columns)}}}",
            r"\toprule",
            _line(spans),
            " ".join(rules),
            _line([escape_latex(head) for head in heads]),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            *(f"\\par\\smallskip\\footnotesize {escape_latex(note)}" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """`text` with the characters that LaTeX reads as commands made printable."""
    return re.sub(r"[\\~^<>&%$#_{}]", lambda match: _LATEX[match[0]], text).replace("—", "---")


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _pipes(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)
