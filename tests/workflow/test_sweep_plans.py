"""What a sweep writes down before any job: its heads in the config's own words."""

import json
import re
from pathlib import Path

import pytest

from nearid.config import load
from nearid.errors import UserError
from nearid.sweeps import Needs, Sweep, _name, _spell

ROOT = Path(__file__).resolve().parents[2]
DEMO = (Path("config/demo.yaml"), Path("config/test.yaml"))


@pytest.fixture
def overlays(tmp_path, monkeypatch):
    """The tiny config, with its results elsewhere."""
    monkeypatch.chdir(ROOT)
    (tmp_path / "here.yaml").write_text(f"results_dir: {tmp_path / 'results'}\n")
    return (*DEMO, tmp_path / "here.yaml")


def test_every_combination_is_a_head_and_a_scorer(overlays):
    values = {"params.alpha": [0.25, 1], "training.learning_rate": [1e-3, 3e-3]}
    sweep = Sweep.plan("grid", overlays, ["nearid"], [0, 1], values)
    assert len(sweep.ablations) == len(set(sweep.ablations)) == 8
    config = load(*sweep.overlays)
    entries = [config["ablations"][name] for name in sweep.ablations]
    assert {(e["seed"], e["params"]["alpha"], e["training"]["learning_rate"]) for e in entries} == {
        (seed, alpha, rate) for seed in (0, 1) for alpha in (0.25, 1) for rate in (1e-3, 3e-3)
    }
    # What is not varied stays.
    assert all(entry["training"]["keep_every_steps"] == 4 for entry in entries)
    assert set(sweep.ablations) <= set(config["select"]["ablations"])
    assert all(config["scorers"][name]["ablation"] == name for name in sweep.ablations)
    assert set(load(*overlays)["select"]["scorers"]) <= set(config["select"]["scorers"])


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("params.beta", [-0.5, 0.5]),
        ("params.temperature", [1e-05, 1e05]),
        ("params.more", ["Cosine", "cosine", "co-sine"]),
        ("params.more", ["a b", "a_b", "a/b"]),
    ],
)
def test_every_value_is_a_run_of_its_own(path, values):
    made = [(_spell("nearid", [f"{path} {value}"]), json.dumps(value), value) for value in values]
    names = _name(made, [])
    assert sorted(map(str, names.values())) == sorted(map(str, values)), names
    assert all(re.fullmatch("[a-z0-9_]+", name) for name in names)


def test_a_run_takes_no_ablation_s_place():
    assert set(_name([("nearid", "[1]", 1), ("more", "[2]", 2)], ["nearid"])) >= {"more"}
    assert "nearid" not in _name([("nearid", "[1]", 1)], ["nearid"])


def test_without_a_grid_the_selected_heads_are_trained_as_they_are(overlays):
    sweep = Sweep.plan("all", overlays)
    assert sweep.ablations == ["infonce", "nearid"]
    assert sweep.config["ablations"] == load(*overlays)["ablations"]
    assert sweep.states() == {"infonce": "not running", "nearid": "not running"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((["nearit"],), "ablation nearit"),
        ((["nearid"], [], {"training.learning_rat": [1]}), "did you mean `learning_rate`"),
        ((["nearid"], [], {"params.alpha": [-1]}), "alpha"),
    ],
)
def test_a_mistake_is_told_before_any_job(overlays, arguments, says):
    with pytest.raises(UserError, match=says):
        Sweep.plan("wrong", overlays, *arguments)
    with pytest.raises(UserError, match="no sweep"):
        Sweep(load(*overlays)["results_dir"] / Path("test/sweeps/wrong"))


def test_without_tokens_it_says_how_to_make_them(overlays):
    with pytest.raises(UserError, match="snakemake --configfile"):
        Sweep.plan("early", overlays).run(Needs(executor="local"))
