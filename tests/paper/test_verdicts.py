"""Verdicts: what the same images, another seed and another sample allow, and when nothing can be said."""

import csv
import io

import pytest
from paper_run import RUN, metrics, page, run

from nearid.config import load, step_settings
from nearid.config.settings.paper import MakePage, MakeTable
from nearid.io.files import write_json
from nearid.paper.comparison import compare_tables, to_csv
from nearid.paper.metrics import Cell
from nearid.paper.page import _what_it_is
from nearid.paper.reference import CORRELATIONS, TOLERANCES, describe_comparability, differing
from nearid.paper.verdicts import Setting, judge

SAME, TRAINED, OTHER = Setting(True, False), Setting(True, True), Setting(False, False)


@pytest.mark.parametrize(
    ("ours", "paper", "setting", "verdict", "reason"),
    [
        (Cell(30.744, 27.0, 35.0, 500), 30.74, SAME, "reproduced", "within the tolerance"),
        # Our interval over identities is irrelevant on the very same images.
        (Cell(33.0, 29.0, 37.0, 500), 30.74, SAME, "deviates", "no training"),
        (Cell(30.74, 26.7, 34.7, 500), 30.74, OTHER, "reproduced", "two samples"),
        (Cell(37.5, 33.5, 41.5, 500), 30.74, OTHER, "deviates", "two samples"),
        # MTG: 100 part edits, 26 to 44.
        (Cell(26.0, 18.0, 35.0, 100), 35.0, TRAINED, "inconclusive", "nearly anything"),
        (Cell(35.5, 26.5, 44.5, 100), 35.0, TRAINED, "reproduced", "within the tolerance"),
        (Cell(10.0, 4.0, 16.0, 100), 35.0, TRAINED, "deviates", "one seed"),
        (Cell(97.0, 96.2, 97.8, 3500), 99.17, TRAINED, "deviates", "one seed"),
        # No trial failed in our sample: its interval has no width, but the paper's has.
        (Cell(100.0, 100.0, 100.0, 500), 99.5, OTHER, "reproduced", "two samples"),
        (Cell(30.7), 30.74, OTHER, "inconclusive", "no interval"),
    ],
)
def test_a_verdict_is_about_the_difference_and_its_uncertainty(ours, paper, setting, verdict, reason):
    found, why = judge(ours, paper, 0.5, True, setting)
    assert found == verdict
    assert reason in why or verdict == "inconclusive"


def test_several_seeds_replace_the_bound_by_what_they_differ():
    def verdict(*seeds):
        return judge(Cell(31.0, 22.0, 40.0, 100), 35.0, 1.0, True, Setting(True, True, seeds))

    assert verdict(31.0)[0] == "inconclusive"
    assert verdict(31.0, 31.5, 30.5) == ("reproduced", "the paper's test images: the spread of 3 seeds allows ±4.04")
    assert verdict(31.0, 31.1, 30.9)[0] == "deviates"
    assert verdict(31.0, 36.0, 26.0)[0] == "inconclusive"


@pytest.mark.parametrize(
    ("metric", "digits", "paper", "released"),
    [
        ("ssr", 1, 99.4, 99.4),
        ("pa_table", 1, 99.8, 99.77),
        ("m_o", 3, 0.465, 0.454),
        ("m_o_pair", 3, 0.486, 0.475),
        ("mtg_ssr", 1, 35.0, 34.0),
        ("mtg_pa", 1, 46.5, 46.0),
    ],
)
def test_the_authors_own_numbers_of_their_released_head_are_reproduced(metric, digits, paper, released):
    tolerance = TOLERANCES.get(metric, 0.0) + 0.5 * 10.0**-digits
    assert judge(Cell(released), paper, tolerance, metric not in CORRELATIONS, SAME)[0] == "reproduced"


def verdict_of(layout, table, row, column, **changes):
    pairs = compare_tables(page(**changes).tables, layout)
    return next(
        (pair.verdict, pair.why) for pair in pairs if (pair.table, pair.row, pair.column) == (table, row, column)
    )


def test_what_is_the_same_comes_from_the_run(layout):
    content = metrics("siglip2", 31.0)
    content["mtg"]["full"]["m_o"] = 0.3
    write_json(layout.metrics("siglip2"), content)
    cell = ("table3", "siglip2", "nearid_ssr")
    released = RUN["groups"]["all"]
    assert verdict_of(layout, *cell)[0] == "not comparable"
    assert verdict_of(layout, *cell, dataset_kind="syncd")[0] == "reproduced"
    assert verdict_of(layout, *cell, dataset_kind="nearid", released=released)[0] == "deviates"
    # One source was painted again: these are not the paper's images.
    mixed = {"dataset_kind": "nearid", "official_splits": True, "released": released[1:]}
    assert "the paper's test identities, other distractors" in verdict_of(layout, *cell, **mixed)[1]
    mapped = verdict_of(layout, *cell, dataset_kind="syncd", official_splits=True)[1]
    assert "those that were found of the paper's test identities" in mapped
    assert "other test identities" in verdict_of(layout, *cell, dataset_kind="syncd")[1]
    # Part edits are public: the images are the same, whatever the identities are.
    assert verdict_of(layout, "table3", "siglip2", "m_o", dataset_kind="syncd")[0] == "deviates"


def test_rows_of_a_judge_with_other_words_are_not_compared(layout):
    scorers = [scorer | ({"other_prompt": True} if scorer["id"] == "siglip2" else {}) for scorer in RUN["scorers"]]
    changed = {"dataset_kind": "syncd", "scorers": scorers}
    assert verdict_of(layout, "table3", "siglip2", "nearid_ssr", **changed) == ("not comparable", "other prompt")
    assert verdict_of(layout, "table3", "nearid", "nearid_ssr", **changed)[1] != "other prompt"


@pytest.mark.parametrize(
    ("entry", "other"),
    [
        ("{}", False),
        ("{prompt: mine.txt}", True),
        ("{prompt: mine.txt, wording: paper}", False),
        ("{prompt: ''}", True),  # our own
    ],
)
def test_words_that_are_not_the_papers_are_told_ours_too(tmp_path, entry, other):
    path = tmp_path / "words.yaml"
    path.write_text(f"scorers: {{qwen3vl_30b: {entry}}}")
    run = MakeTable.parse(step_settings("make_table", load(path), table="table1")).run
    assert [scorer.other_prompt for scorer in run.scorers if scorer.id == "qwen3vl_30b"] == [other]


def test_every_line_of_the_comparison_names_its_reason(layout):
    pairs = compare_tables(page(dataset_kind="syncd").tables, layout)
    rows = list(csv.DictReader(io.StringIO(to_csv(pairs))))
    assert rows and all(row["why"] for row in rows)
    assert {row["verdict"] for row in rows} <= {"reproduced", "deviates", "inconclusive", "not comparable"}


def test_sizes_and_weights_that_are_not_the_papers_make_no_verdict(layout):
    """Numbers of a rehearsal, or of other painting or training, are not comparable with the paper's, however close."""
    assert differing(run(dataset_kind="syncd", stand_ins=True), "m_h", False) == ["a rehearsal on stand-ins"]
    told = {"data": ["6 test identities (paper: 500)"], "training": ["epochs 2 (paper: 11)"]}
    told_of = run(dataset_kind="syncd", differs=told)
    assert differing(told_of, "m_h", False) == [], "DreamBench++ is what it is"
    assert differing(told_of, "nearid_ssr", False) == told["data"]
    assert differing(told_of, "m_o", True) == told["training"]
    assert "6 test identities" in describe_comparability(told_of)[1]


def test_a_run_of_ratings_alone_is_not_told_to_be_one_of_distractors():
    rated = MakePage.parse(step_settings("make_page", load("config/ratings.yaml"))).run
    assert describe_comparability(rated) == (True, "DreamBench++ is public, and so are its ratings")
    assert "no distractor" in _what_it_is(rated)
    assert "painted again" in _what_it_is(MakePage.parse(step_settings("make_page", load())).run)
