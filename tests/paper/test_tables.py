"""Tables: the paper's layout, gaps with reasons, best values, formats that other programs read."""

import csv
import io
import json
import math
import shutil
import subprocess

import pytest
import torch
from paper_run import RUN, TABLES, metrics, page, run
from paper_run import table as settings_of
from printed_run import tables_of_the_paper, write_printed_run

from nearid.config import load, step_settings
from nearid.config.settings.paper import CompareWithPaper, MakeTable
from nearid.errors import UserError
from nearid.heads.objectives import create
from nearid.io.files import write_json
from nearid.layout import Layout
from nearid.paper.comparison import compare_tables, write_comparison
from nearid.paper.formats import to_csv, to_latex, to_markdown, write_table
from nearid.paper.metrics import Cell, subtract
from nearid.paper.reference import published
from nearid.paper.run import arrange_groups, find_group
from nearid.paper.tables import build_table, in_order
from nearid.paper.tables.table4 import FORMULAS, describe


def rows_of(layout, table):
    content = to_csv(build_table(TABLES[table], layout))
    return {row["id"]: row for row in csv.DictReader(io.StringIO(content))}


@pytest.mark.parametrize("table", ["table1", "table3"])
def test_no_row_of_the_paper_is_missing(layout, table):
    rows = rows_of(layout, table)
    key = published()[table]["columns"][0]
    stands_for = {"frozen": "siglip2"} if table == "table3" else {}
    for row in published()[table]["rows"]:
        found = rows[stands_for.get(row[key], row[key])]
        assert found["nearid_ssr"] or "not part of this run" in found["gaps"]
    assert rows["nearid"]["nearid_ssr"] == "90.0"
    assert "m_h: DreamBench++ is not selected" in rows["nearid"]["gaps"]


def test_csv_carries_counts_and_intervals(layout):
    row = rows_of(layout, "table1")["siglip2"]
    assert (row["nearid_ssr_low"], row["nearid_ssr_high"], row["nearid_ssr_count"]) == ("16.0", "24.0", "60")
    assert (row["nearid_pa"], row["nearid_pa_count"]) == ("60.0", "180")
    assert (row["mtg_ssr_count"], row["mtg_pa_count"]) == ("10", "20")


def test_table5_has_every_source_and_group_for_every_scorer(layout):
    rows = rows_of(layout, "table5")
    assert list(rows) == ["sibling", "sibling_half", "cut_paste", "avg_train", "avg_unseen", "avg_all"]
    assert rows["cut_paste"]["group"] == "unseen"
    assert rows["cut_paste"]["infonce_ssr"] == "62.0"
    assert rows["avg_train"]["nearid_ssr"] == "90.5" and rows["avg_train"]["nearid_ssr_count"] == "40"
    assert "vsm_ssr" in rows["sibling"]["gaps"]


def test_best_values_are_bold_and_ties_share(layout):
    write_json(layout.metrics("infonce"), metrics("infonce", 90.0))
    text = to_markdown(build_table(TABLES["table1"], layout))
    bold = [line.split("|")[1].strip() for line in text.splitlines() if "**90.00**" in line]
    assert bold == ["NearID", "InfoNCE"]


def test_a_null_metric_is_a_gap_with_its_own_reason(layout):
    content = metrics("nearid", 90.0)
    content["nearid_bench"]["full"]["groups"]["all"] |= {"ssr": None, "ssr_ci": None}
    content["reasons"]["nearid_bench.full.groups.all"] = "no valid margin for cut_paste"
    write_json(layout.metrics("nearid"), content)
    assert "nearid_ssr: no valid margin for cut_paste" in rows_of(layout, "table1")["nearid"]["gaps"]


def test_missing_metrics_stop_the_table(layout):
    layout.metrics("infonce").unlink()
    with pytest.raises(UserError, match="infonce"):
        build_table(TABLES["table1"], layout)


def test_equal_input_equal_bytes(layout):
    def written():
        write_table(build_table(TABLES["table5"], layout), layout)
        return [layout.table("table5", suffix).read_bytes() for suffix in ("csv", "tex", "md")]

    assert written() == written()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex (Debian: texlive-latex-recommended)")
def test_latex_of_every_table_compiles_and_fits(layout, tmp_path):
    printed = Layout(tmp_path / "paper")
    write_printed_run(printed)
    tables = [build_table(settings, printed) for settings in tables_of_the_paper().values()]
    # Also with gaps and awkward names.
    tables += [build_table(settings, layout) for settings in TABLES.values()]
    body = "\n".join(to_latex(table) + r"\clearpage" for table in tables)
    packages = r"\usepackage[utf8]{inputenc}\usepackage{booktabs}\usepackage{graphicx}"
    source = rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "paper.tex").write_text(source)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_markup_in_names_is_escaped(layout):
    table = build_table(TABLES["table1"], layout)
    assert r"Colour \& \textless{}mask\textgreater{}\_\%" in to_latex(table)
    assert r"Colour & \<mask\>\_%" in to_markdown(table)


def test_comparison_holds_every_cell_of_the_paper(layout):
    pairs = compare_tables(TABLES, layout)
    for table in TABLES:
        printed = sorted(
            value
            for row in published()[table]["rows"]
            for column, value in row.items()
            if isinstance(value, float) and column not in ("n", "resolution")
        )
        assert sorted(pair.paper for pair in pairs if pair.table == table and pair.paper is not None) == printed


def test_comparison_says_whether_it_may_be_made(layout):
    def cell(tables):
        pairs = compare_tables(tables, layout)
        return next(
            pair for pair in pairs if (pair.table, pair.row, pair.column) == ("table3", "siglip2", "nearid_ssr")
        )

    rendered = cell(TABLES)
    assert (rendered.ours, rendered.paper, rendered.difference) == (20.0, 30.74, -10.74)
    assert rendered.verdict == "not comparable" and "rendered" in rendered.why
    assert cell(page(dataset_kind="syncd").tables).verdict == "deviates"


def test_comparison_file_round_trips(layout):
    write_comparison(CompareWithPaper(tables=TABLES), layout)
    with layout.paper("comparison.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len([row for row in rows if row["table"] != "cost"]) == len(compare_tables(TABLES, layout))
    assert all(row["why"] for row in rows)
    assert json.dumps(rows)


def test_tables_come_in_the_paper_s_order():
    assert in_order(["table10", "table2", "table1"]) == ["table1", "table2", "table10"]


def test_the_papers_groups_come_in_its_order_and_a_source_is_in_the_smallest():
    config = load()
    run = MakeTable.parse(step_settings("make_table", config, table="table5")).run
    assert list(arrange_groups(run)) == ["train", "unseen_fill", "unseen_canny", "main7", "all9"]
    assert [find_group(run, source) for source in ("flux", "sdxl", "fluxc")] == ["train", "unseen_fill", "unseen_canny"]


def test_the_order_of_groups_does_not_hang_on_how_settings_came():
    turned = run(groups=dict(reversed(RUN["groups"].items())))
    groups = list(arrange_groups(run()))
    assert list(arrange_groups(turned)) == groups
    assert groups[-1] == RUN["headline_group"]


def test_table1_marks_the_three_best_and_shows_the_differences_of_nearid(layout):
    table = build_table(TABLES["table1"], layout)
    ranked = {row: place for (row, column), place in table.places().items() if column == "nearid_ssr"}
    assert ranked == {"nearid": 1, "infonce": 2, "colour_histogram": 3}
    markdown, latex = to_markdown(table), to_latex(table)
    assert "| **90.00** (+70.00) |" in markdown and "<u>60.00</u>" in markdown and "*35.00*" in markdown
    assert r"\textbf{90.00} {\scriptsize (+70.00)}" in latex and r"\underline{60.00}" in latex
    assert markdown.count("(+") == len([column for column in table.columns if table.delta(table.rows[-3], column)])


def test_table5_tells_at_what_size_a_source_paints(layout):
    sources = [source | {"working_px": px} for source, px in zip(RUN["sources"], (512, 1024, 640), strict=True)]
    sources[2] |= {"id": "powerpaint"}
    table = build_table(settings_of("table5", sources=sources, groups={"all": ["sibling"]}), layout)
    assert [row.labels["Res."] for row in table.rows[:3]] == ["512", "1024", "640 (512)"]


def test_differences_have_intervals(layout):
    def compared():
        pairs = compare_tables({"table7": settings_of("table7", dataset_kind="syncd")}, layout)
        return {pair.column: pair for pair in pairs if pair.row == "siglip2"}

    masking = {"ssr_ci": [27.0, 34.0], "m_o_ci": [-0.1, 0.1]}
    write_json(layout.metrics("siglip2"), metrics("siglip2", 20.0) | {"masking": masking})
    ssr, m_o = (compared()[name] for name in ("d_ssr", "d_m_o"))
    assert (ssr.low, ssr.high, ssr.verdict) == (27.0, 34.0, "reproduced") and (m_o.low, m_o.high) == (-0.1, 0.1)
    # There are no intervals for the others, and it says so.
    write_json(layout.metrics("siglip2"), metrics("siglip2", 20.0))
    assert (compared()["d_ssr"].low, compared()["d_ssr"].verdict) == (None, "inconclusive")


def test_the_interval_of_a_difference_is_that_of_independent_values():
    found = subtract(Cell(0.5, 0.4, 0.7), Cell(0.3, 0.27, 0.34))
    below, above = math.hypot(0.1, 0.04), math.hypot(0.2, 0.03)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.2 - below, 0.2 + above))
    assert subtract(Cell(0.5), Cell(0.3, 0.2, 0.4)).low is None


def test_table4_says_what_the_objectives_are_made_of():
    assert describe("nearid", {"alpha": 0.5})["Distractors"] == "D, R"
    assert describe("nearid", {"alpha": 0.0}) | {"L_disc": ""} == {
        "L_disc": "", "L_rank": "-", "Distractors": "D", "Margin": "-", "Oracle": "-"
    }  # fmt: skip
    assert describe("infonce_oracle", {})["Margin"] == "0.05" and describe("circle_rank", {})["Margin"] == "0.25"


@pytest.mark.parametrize("name", list(FORMULAS))
def test_formulas_of_table4_are_true_of_the_objectives(name):
    """A loss changes with what the table says it reads, and with nothing else."""
    made, random = create(name), torch.Generator().manual_seed(0)
    x, y, z = (torch.randn(4, *shape, generator=random).double() for shape in ((8,), (2, 8), (3, 8)))
    masks = torch.ones(4, 2, dtype=torch.bool), torch.ones(4, 3, dtype=torch.bool)
    severity = torch.rand(4, 3, generator=random).double()
    told = describe(name, {})

    def parts(distractors):
        return made.parts(x, y, distractors, *masks, severity, torch.zeros(4, dtype=torch.long)).terms

    before, after = parts(z), parts(z.flip(1) if told["Distractors"] == "-" else torch.randn_like(z))
    ranking = FORMULAS[name].ranking_term
    moved = {term for term in before if not torch.isclose(before[term], after[term])}
    assert (ranking in moved) == ("R" in told["Distractors"])
    assert bool(moved - {ranking}) == bool({"D", "S"} & set(told["Distractors"].split(", ")))
    assert (told["Oracle"] == "yes") == made.reads_severity


def test_the_data_set_is_counted_beside_the_paper_s(layout):
    for source, painted in zip(RUN["sources"], (50, 49, 30), strict=True):
        write_json(layout.distractor_report(source["id"], "000"), {"painted": painted, "empty": []})
    settings = settings_of("data", dataset_kind="syncd")
    pairs = {pair.row: pair for pair in compare_tables({"data": settings}, layout)}
    assert (pairs["identities"].ours, pairs["identities"].paper, pairs["identities"].verdict) == (20, 19386, "deviates")
    assert [pairs[name].ours for name in ("two_views", "three_views", "images", "test")] == [10, 10, 50, 6]
    assert (pairs["distractors"].ours, pairs["distractors"].paper) == (129, 316505)
    assert (pairs["cut_paste"].ours, pairs["cut_paste"].why) == (30, "not in the paper")
    assert pairs["flux"].ours is None and pairs["dropped"].ours == 1


def test_notes_speak_of_the_columns_that_a_table_has(layout):
    notes = {name: " ".join(build_table(settings_of(name), layout).notes) for name in ("table1", "table7")}
    assert "M-O, M-H are correlations" in notes["table1"]
    assert "M-O is a correlation" in notes["table7"] and "M-H" not in notes["table7"]
    assert "full image" in notes["table1"] and "full image" not in notes["table7"]
