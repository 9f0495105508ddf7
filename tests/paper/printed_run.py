"""The paper's printed numbers as a simulated run of config.yaml: metrics.json files that reproduce them.

Printed values are rounded, and the paper's averages and differences come from unrounded ones: values are searched for
within the rounding of every cell that prints them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.optimize import linprog

from nearid.config import load, step_settings
from nearid.config.settings.paper import CompareWithPaper, MakeTable
from nearid.io.files import write_json
from nearid.layout import Layout
from nearid.paper.reference import published, published_rows
from nearid.paper.tables.figure4 import CATEGORIES
from nearid.scores.correlations import fisher_mean
from nearid.scores.human_alignment import LIMIT, _average
from nearid.scores.margins import Rates, pool

CONFIG = load("config/released.yaml")
GROUPS = {name: CONFIG["groups"][name] for name in CONFIG["select"]["groups"]}
SOURCES = CONFIG["select"]["sources"]
TRIALS = 1744
SWEPT = {"table8": ("alpha", "nearid_a"), "table9": ("beta", "nearid_a1_b")}
FIGURE4 = published_rows("figure4")
# In that figure's rows there are released ratings and the mean of the tokens.
IN_FIGURE4 = {"siglip2_mean": "siglip2", "dino": "dinov2"}
TABLE2 = {"gpt4o": "g", "dino": "d", "clip_i": "c", "siglip2_mean": "s", "nearid": "nearid"}
# Where the paper contradicts itself: (table, row, column) that cannot be as printed, given the others.
CONTRADICTED = {("table7", "siglip2", "full_m_o")}


def tables_of_the_paper() -> dict[str, MakeTable]:
    return {
        name: MakeTable.parse(step_settings("make_table", CONFIG, table=name))
        for name in CONFIG["select"]["tables"]
        if name != "data"
    }


def compared_tables() -> dict[str, MakeTable]:
    tables = CompareWithPaper.parse(step_settings("compare_with_paper", CONFIG)).tables
    return {name: settings for name, settings in tables.items() if name != "data"}


def printed_cells() -> dict[str, dict[str, float]]:
    """Scorer id -> its printed benchmark values; the most precise print of a value wins."""
    cells: dict[str, dict[str, float]] = {}
    for name in ("table1", "table3", "table6", "table10"):
        for row_id, row in published_rows(name).items():
            own = cells.setdefault({"frozen": "siglip2"}.get(row_id, row_id), {})
            for key, value in row.items():
                if isinstance(value, float) and not key.startswith("d_"):
                    own.setdefault(key, value)
    sweeps = {
        "table8": ["nearid_a0", "nearid_a01", "nearid_a025", "nearid", "nearid_a1", "nearid_a2"],
        "table9": ["nearid_a1", "nearid_a1_b01", "nearid_a1_b02", "nearid_a1_b03"],
    }
    for name, ids in sweeps.items():
        for scorer, row in zip(ids, published()[name]["rows"], strict=True):
            own = cells.setdefault(scorer, {})
            for key, value in row.items():
                if key not in ("alpha", "beta"):
                    own.setdefault(key, value)
    for scorer, row in published_rows("table7").items():
        if row["full_ssr"] is None:
            continue
        own = cells.setdefault(scorer, {})
        (low, high), (down, up), (less, more) = (within(row[key], 1) for key in ("full_ssr", "fg_ssr", "d_ssr"))
        own.setdefault("nearid_ssr", (max(low, down - more) + min(high, up - less)) / 2)
        own.setdefault("nearid_pa", row["full_pa"])
        own.setdefault("m_o", row["full_m_o"])
    return cells


def within(value: float, digits: int) -> tuple[float, float]:
    half = 0.5 * 10.0**-digits
    return value - half, value + half


def foreground(full: float, printed: float, digits: int, delta: float | None, delta_digits: int) -> float:
    """A value that rounds to `printed` and whose difference to `full` rounds to `delta`."""
    low, high = within(printed, digits)
    if delta is not None:
        lower, upper = within(delta, delta_digits)
        low, high = max(low, full + lower), min(high, full + upper)
        assert low < high, (full, printed, delta)
    return (low + high) / 2


@cache
def solve_sources(scorer: str, metric: str, headline: float) -> dict[str, float]:
    """Values per source that round to table 5's, and whose pools round to its averages and to the headline."""
    rows = published_rows("table5")
    bounds = [within(rows[source][f"{scorer}_{metric}"], 1) for source in SOURCES]
    limits, edges = [], []
    groups = {
        **{
            name: (members, within(rows[f"avg_{_PAPER.get(name, name)}"][f"{scorer}_{metric}"], 1))
            for name, members in GROUPS.items()
        },
        "headline": (GROUPS["main7"], within(headline, 2)),
    }
    for members, (low, high) in groups.values():
        weights = np.array([(source in members) / len(members) for source in SOURCES])
        limits += [np.append(weights, 1e-3), np.append(-weights, 1e-3)]
        edges += [high, -low]
    for index, (low, high) in enumerate(bounds):
        unit = np.eye(len(SOURCES))[index]
        limits += [np.append(unit, 1e-3), np.append(-unit, 1e-3)]
        edges += [high, -low]
    # Maximise the distance to all limits, the last variable.
    found = linprog([0.0] * len(SOURCES) + [-1.0], A_ub=limits, b_ub=edges, bounds=[(0, 100)] * len(SOURCES) + [(0, 5)])
    assert found.success and found.x[-1] > 0, (scorer, metric, found.message)
    return dict(zip(SOURCES, found.x, strict=False))


_PAPER = {"main7": "all7_main"}


def bench(ssr: dict[str, float], pa: dict[str, float]) -> dict:
    """Sources, and groups pooled by the code that pools measured ones."""
    # The pairwise PA that gives the printed one if only identities that win every margin win their mean.
    pairs = {source: (printed * (TRIALS + 500) - ssr[source] * 500) / TRIALS for source, printed in pa.items()}
    rates = {source: Rates(ssr[source], ssr[source], pairs[source], 500, TRIALS, 500) for source in SOURCES}
    pools = {name: pool(rates, members, name) for name, members in GROUPS.items()}
    return {"sources": _written(rates), "groups": _written(pools), "cosine": {}}


def _written(rates: dict[str, Rates]) -> dict[str, dict]:
    return {name: vars(value) | {"pa_table": value.pa_table} for name, value in rates.items()}


@cache
def alignment(column: str) -> dict:
    """Table 2's column; the scores stage computes its average, and values are moved within rounding to meet it."""
    rows = published_rows("table2")
    average = rows["fisher_z_average"]
    methods = {name: (row[f"{column}_h"], row[f"{column}_h_pm"]) for name, row in rows.items() if name in _METHODS}
    shifts = sorted(np.linspace(-0.00049, 0.00049, 99), key=abs)
    for shift in shifts:
        moved = {name: (value + shift, error) for name, (value, error) in methods.items()}
        if f"{fisher_mean([value for value, _ in moved.values()], LIMIT):.3f}" == f"{average[f'{column}_h']:.3f}":
            break
    return _average(moved, 585).describe()


_METHODS = [name for name in published_rows("table2") if name != "fisher_z_average"]


def write_printed_run(layout: Layout) -> None:
    cells = printed_cells()
    sevens = published_rows("table7")
    for scorer in CONFIG["select"]["scorers"]:
        own, reasons = cells.get(scorer, {}), {}
        content = {"scorer": scorer, "headline_group": "main7", "reasons": reasons, "nearid_bench": None, "mtg": None}
        if "nearid_ssr" in own:
            in_table5 = f"{scorer}_ssr" in published()["table5"]["columns"]
            full = [
                solve_sources(scorer, metric, own[f"nearid_{metric}"])
                if in_table5
                else dict.fromkeys(SOURCES, own[f"nearid_{metric}"])
                for metric in ("ssr", "pa")
            ]
            content["nearid_bench"] = {"full": bench(*full)}
            edits = {key: own.get(key) for key in ("m_o", "m_o_pair", "mtg_ssr", "mtg_pa")}
            content["mtg"] = {"full": edits | {"n": 100, "trials": 200}}
            if scorer in sevens:
                row, main = sevens[scorer], content["nearid_bench"]["full"]["groups"]["main7"]
                if row["fg_ssr"] is None:  # the text gives only this number of it
                    content["mtg"]["fg"] = {"m_o": row["fg_m_o"], "n": 100, "trials": 200}
                    row = None
            if scorer in sevens and row:
                ssr = foreground(main["ssr"], row["fg_ssr"], 1, row["d_ssr"], 1)
                pa = foreground(main["pa"], row["fg_pa"], 1, None, 1)
                m_o = foreground(own["m_o"], row["fg_m_o"], 3, row["d_m_o"], 2)
                content["nearid_bench"]["fg"] = bench(dict.fromkeys(SOURCES, ssr), dict.fromkeys(SOURCES, pa))
                content["mtg"]["fg"] = {"m_o": m_o, "n": 100, "trials": 200}
        content["m_h"] = own.get("m_h")
        reasons["m_h"] = "printed as not run"
        if scorer in TABLE2:
            ours = alignment(TABLE2[scorer])
            content |= {"m_h": ours["m_h"], "m_h_error": ours["error"]}
            content["dreambench"] = {"categories": {"object": ours}, "humans": {"object": alignment("h")}}
        row = FIGURE4.get(IN_FIGURE4.get(scorer, scorer))
        if row and scorer != "siglip2":
            categories = {name: {"m_h": row[short], "error": None, "pairs": 585} for short, name in CATEGORIES.items()}
            own = content.setdefault("dreambench", {"categories": {}})["categories"]
            own |= {name: entry for name, entry in categories.items() if name not in own}
        write_json(layout.metrics(scorer), content)
