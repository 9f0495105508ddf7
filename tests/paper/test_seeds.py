"""Mean and spread over seeds, and the verdict."""

import csv

import numpy as np
import pytest
from paper_run import SSR, write_scores

from nearid.errors import UserError
from nearid.io.files import read_json, write_json
from nearid.layout import Layout
from nearid.paper.seeds import write_seeds


def write_runs(root, nearid, infonce):
    layouts = [Layout(root / f"demo_s{seed}") for seed in range(len(nearid))]
    for layout, ours, theirs in zip(layouts, nearid, infonce, strict=True):
        write_scores(layout, SSR | {"nearid": ours, "infonce": theirs})
    return layouts


def test_mean_and_sample_deviation(tmp_path):
    layouts = write_runs(tmp_path, [90, 93, 87], [60, 61, 59])
    write_seeds(layouts, tmp_path / "out", "nearid", "infonce")
    with (tmp_path / "out" / "seeds.csv").open() as stream:
        rows = {(row["scorer"], row["group"], row["metric"]): row for row in csv.DictReader(stream)}
    row = rows["nearid", "all", "ssr"]
    assert float(row["mean"]) == 90
    assert float(row["spread"]) == pytest.approx(np.std([90, 93, 87], ddof=1))
    assert [float(row[f"demo_s{seed}"]) for seed in range(3)] == [90, 93, 87]
    assert ("nearid", "mtg", "m_o") in rows
    assert ("nearid", "dreambench", "m_h") not in rows  # no run has it


def test_agreement_with_people_is_told_where_all_runs_have_it(tmp_path):
    layouts = write_runs(tmp_path, [90, 93], [60, 61])
    for value, layout in zip([0.5, 0.52], layouts, strict=True):
        path = layout.metrics("nearid")
        write_json(path, read_json(path) | {"m_h": value})
    assert "| nearid | dreambench | m_h | 0.510 ± 0.014 | 0.500 | 0.520 |" in write_seeds(
        layouts, tmp_path, "nearid", "infonce"
    )


@pytest.mark.parametrize(
    ("nearid", "infonce", "beaten"),
    [
        ([90, 93, 87], [60, 61, 59], True),
        ([90, 93, 87], [85, 86, 84], False),  # 5 points, but 2 x 3 of spread
        ([90, 90, 90], [80, 86, 83], True),  # 7 > 2 x 3
        ([90, 91, 89], [89, 85, 90], False),
    ],
)
def test_verdict_needs_twice_the_largest_spread(tmp_path, nearid, infonce, beaten):
    text = write_seeds(write_runs(tmp_path, nearid, infonce), tmp_path, "nearid", "infonce")
    line = next(line for line in text.splitlines() if line.startswith("- all:"))
    assert line.endswith(": exceeded.") == beaten and line.endswith("not exceeded.") != beaten


def test_runs_that_differ_are_refused(tmp_path):
    layouts = write_runs(tmp_path, [90, 93], [60, 61])
    layouts[1].metrics("infonce").unlink()
    with pytest.raises(UserError, match="demo_s1"):
        write_seeds(layouts, tmp_path, "nearid", "infonce")
    for folders in (layouts[:1], [layouts[0], layouts[0]]):  # the same run twice would have no spread
        with pytest.raises(UserError, match="two at least"):
            write_seeds(folders, tmp_path, "nearid", "infonce")
