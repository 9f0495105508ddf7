"""Aims over seeds: each bound against a slow calculation, and what page and summary say."""

import csv
import statistics
from pathlib import Path

import pytest
from paper_run import PAGE, RUN, SSR, write_scores

from nearid.config import load
from nearid.config.settings.paper import MakePage, Told, WriteSummary
from nearid.errors import UserError
from nearid.paper.aims import find_aims
from nearid.paper.metrics import read_metrics
from nearid.paper.page import render_page
from nearid.paper.seeds import write_seeds
from nearid.paper.summary import write_summary

NEARID, INFONCE = [90.0, 93.0, 87.0], [60.0, 58.0, 59.0]


@pytest.fixture
def seeds(layout, tmp_path):
    """The table of three runs."""
    runs = [type(layout)(tmp_path / f"run_{seed}") for seed in range(3)]
    for run, nearid, infonce in zip(runs, NEARID, INFONCE, strict=True):
        write_scores(run, SSR | {"nearid": nearid, "infonce": infonce})
    write_seeds(runs, tmp_path / "seeds", "nearid", "infonce")
    return str(tmp_path / "seeds" / "seeds.csv")


def find(layout, seeds, **aim):
    settings = {"seed_table": seeds, "aims": [{"claim": "It works", "scorer": "nearid", "metric": "ssr", **aim}]}
    return find_aims(Told.parse({"run": RUN, **settings}), read_metrics(layout, SSR))[0]


@pytest.mark.parametrize(
    ("aim", "holds"),
    [
        ({"at_least": 90}, True),
        ({"at_least": 90.1}, False),
        ({"at_most": 90}, True),
        ({"at_most": 89.9}, False),
        ({"above": 90}, False),
        ({"less": "infonce", "at_least": 31}, True),
        ({"less": "infonce", "spreads": 31 / 4}, True),  # the largest spread is that of the differences 30, 35 and 28
        ({"less": "infonce", "spreads": 31 / 3.5}, False),
        ({"less": "infonce", "at_least": 31, "spreads": 31 / 3.5}, False),
        ({"group": "unseen", "less_group": "train", "at_least": 1.5, "at_most": 1.5}, True),
        ({"group": "unseen", "less_group": "train", "at_most": 1.4}, False),
        ({"metric": "m_o", "less": "infonce", "above": 0.15}, True),
        ({"metric": "m_o", "less": "infonce", "above": 0.16}, False),
    ],
)
def test_bounds_are_for_the_mean_over_the_runs(layout, seeds, aim, holds):
    assert find(layout, seeds, **aim).holds == holds


def test_numbers_are_those_of_the_runs_and_this_run(layout, seeds):
    leads = [a - b for a, b in zip(NEARID, INFONCE, strict=True)]
    found = find(layout, seeds, less="infonce", at_least=40, spreads=2)
    limit = 2 * max(map(statistics.stdev, (NEARID, INFONCE, leads)))
    assert found.bounds == f"difference in SSR at least 40 and above {limit:.1f}, 2 times the spread"
    assert found.over_seeds == f"+31.0 ± {statistics.stdev(leads):.1f} (+30.0, +35.0, +28.0)"
    assert found.own == f"{SSR['nearid'] - SSR['infonce']:+.1f}"


def test_page_and_summary_tell_what_fails(layout, seeds):
    aims = [
        {"claim": "It is good", "scorer": "nearid", "metric": "ssr", "at_least": 80},
        {"claim": "It is <best>", "scorer": "nearid", "metric": "ssr", "at_least": 95},
    ]
    with_aims = MakePage.parse({**PAGE.given, "seed_table": seeds, "aims": aims})
    text = render_page(with_aims, layout)
    assert "It is &lt;best&gt;" in text and text.count("✗ does not hold") == 1
    assert 'id="aims"' not in render_page(PAGE, layout)
    lines = write_summary(WriteSummary.parse({"run": RUN, "seed_table": seeds, "aims": aims}), layout).splitlines()[-2:]
    numbers = "over seeds: 90.0 ± 3.0 (90.0, 93.0, 87.0); this run: 90.0"
    assert lines[0] == f"  [holds] It is good (SSR at least 80; {numbers})"
    assert lines[1] == f"  [does not hold] It is <best> (SSR at least 95; {numbers})"


def test_what_the_runs_lack_is_an_error_and_what_this_run_lacks_is_told(layout, seeds):
    with pytest.raises(UserError, match="no row judge, all, ssr"):
        find(layout, seeds, scorer="judge", at_least=1)
    settings = {"seed_table": seeds, "aims": [{"claim": "", "scorer": "nearid", "metric": "ssr", "at_least": 1}]}
    assert find_aims(Told.parse({"run": RUN, **settings}), {})[0].own == "not measured"


def test_the_demos_table_has_every_aim_and_the_means_of_its_runs():
    paper = load("config/demo.yaml")["paper"]
    with Path(paper["seed_table"]).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        values = [float(row[name]) for name in ("demo", "demo_s1", "demo_s2")]
        assert float(row["mean"]) == pytest.approx(statistics.fmean(values), abs=1e-3)
        assert float(row["spread"]) == pytest.approx(statistics.stdev(values), abs=1e-3)
    assert {aim["scorer"] for aim in paper["aims"].values()} <= {row["scorer"] for row in rows}
