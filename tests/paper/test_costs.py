"""Costs: the paper's cost block beside the jobs' times, and a judged pair's cost in embedded pairs."""

import csv

import numpy as np
import pytest

from nearid.config import load
from nearid.config.settings.paper import CompareWithPaper
from nearid.io.files import write_json, write_text
from nearid.io.tables import write_table
from nearid.paper.comparison import write_comparison
from nearid.paper.costs import compare_costs, judge_cost, to_csv
from nearid.paper.manifest import read_costs
from nearid.paper.reference import published
from nearid.scores.nearid_bench import SCHEMA

CONFIG = load("config/released.yaml")
HOUR = 3600.0


def took(layout, seconds, *place):
    write_text(layout.benchmark(*place), f"s\tmax_rss\tcpu_time\n{seconds}\t1\t1\n")


@pytest.fixture
def as_printed(layout):
    """A run that costs what the paper's did: 54 hours of judging, ten minutes of embedding, 6.5 hours a head."""
    rows = {name: [0.5] for name in SCHEMA.names}
    rows |= {"row": [0], "id": [1], "source": ["flux"], "condition": ["full"], "sim_02": [np.nan]}
    for scorer, seconds in (("qwen3vl_30b", 54 * HOUR), ("nearid", 60.0)):
        write_table(layout.scores(scorer, "nearid_bench"), rows, SCHEMA)
        took(layout, seconds, "scores", "score_nearid_bench", scorer)
    for collection in ("positives", *CONFIG["select"]["sources"]):
        took(layout, 54.0 * 3, "tokens", "extract_tokens", f"siglip2_so400m/{collection}/000")
    for name in CONFIG["select"]["ablations"]:
        others = [other for other in CONFIG["select"]["ablations"] if other != name]
        told = {"seconds": 6.5 * HOUR * len([name, *others]), "steps": 3343, "trained_with": others}
        write_json(layout.head_file(name, "provenance.json"), told)
    return layout


def test_the_paper_s_own_costs_come_out_as_printed(as_printed, monkeypatch):
    # A third of each collection's images are test images.
    monkeypatch.setattr(
        "nearid.paper.costs.token_variants", lambda *_: {"train": ["full"] * 2, "test": ["full"] * 10, "val": []}
    )
    monkeypatch.setattr("nearid.paper.costs._count_views", lambda _: {"train": 100, "val": 0, "test": 10})
    costs = compare_costs(CONFIG, as_printed, read_costs(as_printed))
    beside = {cost.what: (round(cost.ours, 1), cost.paper) for cost in costs if cost.paper is not None}
    assert beside == {
        "a training run": (6.5, 6.5),
        "a training step": (7.0, 7.0),
        "the ablations": (104.0, 124.0),  # 16 distinct models, where the paper counts 19 runs
        "the beta sweep": (19.5, 20.0),
        "an evaluation by embedding": (10.0, 10.0),
        "an evaluation by a judge": (54.0, 54.0),
        "a judge's pair in embedded pairs": (324.0, 324.0),
    }
    assert judge_cost(costs).holds is True
    own = {cost.what: cost.ours for cost in costs if cost.paper is None}
    assert own["pairs by qwen3vl_30b"] == pytest.approx(5 / (54 * HOUR))
    assert own["stage tokens"] == pytest.approx(10 * 54 * 3 / HOUR) and own["head circle"] == 6.5


def test_what_did_not_run_is_said(layout):
    costs = compare_costs(CONFIG, layout, [])
    assert all(cost.ours is None and cost.why for cost in costs if cost.paper is not None)
    assert judge_cost(costs).verdict == "not tested" and judge_cost(costs).numbers
    assert len(list(csv.DictReader(to_csv(costs).splitlines()))) == len(costs)


def test_comparison_names_every_cost_of_the_paper_and_where_ours_is(layout):
    write_comparison(CompareWithPaper(tables={}), layout)
    rows = {row["row"]: row for row in csv.DictReader(layout.paper("comparison.csv").open())}
    numbers = {key for key, value in published()["cost"].items() if isinstance(value, int | float)}
    assert set(rows) == numbers and {row["why"] for row in rows.values()} == {
        "a run's own times are beside it in costs.csv"
    }
