"""The overlay that trains one head with each choice, and its table against a computation by hand."""

import math

import numpy as np
import pytest
from paper_run import GROUPS, metrics
from paper_run import table as settings_of
from scipy import stats

from nearid.config import load, step_settings
from nearid.config.packs import packs
from nearid.io.files import write_json
from nearid.layout import Layout
from nearid.paper.formats import to_latex, to_markdown
from nearid.paper.tables import build_table

OVERLAY = "config/sensitivity.yaml"


def test_each_head_differs_from_the_headline_head_in_one_choice_and_its_seed():
    config = load(OVERLAY)
    headline = step_settings("train_head", load(), ablation="nearid")
    apart, seeds = {}, {}
    for name in config["select"]["scorers"]:
        entry = config["scorers"][name]
        settings = step_settings("train_head", config, ablation=entry["ablation"])
        seeds.setdefault(entry["choice"], []).append(settings["seed"])
        kept = ("seed", "ablation")
        changed = {key for key in settings if key not in kept and settings[key] != headline[key]}
        if "training" in changed:
            # Keeping states for the time lapse changes no head.
            old, new = ({**each["training"], "keep_every_steps": 0} for each in (headline, settings))
            changed = changed - {"training"} | {key for key in {*old, *new} if old.get(key) != new.get(key)}
        apart.setdefault(entry["choice"], set()).update(changed)
    assert apart.pop("default") == set()
    assert all(len(changed) == 1 for changed in apart.values()), apart
    assert set(map(tuple, seeds.values())) == {(0, 1, 2)}


def test_heads_that_draw_the_same_batches_are_one_pack():
    config = load(OVERLAY)
    together = packs(config)
    assert len(together) == 24 and sum(map(len, together)) == 36
    assert sorted(map(len, together)) == [1] * 21 + [5] * 3


def test_the_table_says_what_a_choice_moves(tmp_path):
    random = np.random.default_rng(0)
    layout = Layout(tmp_path / "tiny")
    values = {choice: random.uniform(20, 80, 3) for choice in ("default", "padding", "plain")}
    values["moved"] = values["default"] + [10.0, 10.5, 9.5]
    scorers = []
    for choice, ssr in values.items():
        for seed, value in enumerate(ssr):
            id = f"{choice}_{seed}"
            write_json(layout.metrics(id), metrics(id, float(value)))
            shown = {"id": id, "display": f"{choice} ({seed})", "kind": "head", "retrained": True}
            scorers.append(shown | {"paper_row": "", "choice": {"name": choice, "seed": seed}})
    table = build_table(settings_of("sensitivity", scorers=scorers), layout)
    assert [(row.id, row.display, row.labels["Seeds"]) for row in table.rows] == [(name, name, "3") for name in values]
    for row in table.rows:
        assert row.cells["nearid_ssr"].value == pytest.approx(values[row.id].mean())
        change = row.cells["d_nearid_ssr"]
        if row.id == "default":
            assert change.value is None and "compared with" in change.reason
            continue
        found = stats.ttest_rel(values[row.id], values["default"]).confidence_interval(0.95)
        assert (change.value, change.low, change.high, change.count) == (
            pytest.approx((values[row.id] - values["default"]).mean()),
            pytest.approx(found.low, abs=2e-2),
            pytest.approx(found.high, abs=2e-2),
            3,
        )
        assert row.cells["m_h"].value is None and not math.isnan(change.value)
    assert table.shown(table.rows[1], table.columns[1])[0] in "+-", "changes show their sign"
    # A change that three seeds cannot distinguish from zero is not marked.
    assert {row for row, _ in table.places()} == {"moved"} and ("moved", "d_nearid_ssr") in table.places()
    assert "**+10.00**" in to_markdown(table) and r"\textbf{+10.00}" in to_latex(table)
    assert GROUPS["all"]
