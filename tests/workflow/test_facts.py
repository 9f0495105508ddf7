"""The facts about downloads (facts.yaml) compared with the configs."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from nearid.config import load
from nearid.config.facts import download_facts, odd_files

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = [[], ["config/released.yaml"], ["config/released.yaml", "config/calibrate.yaml"]]


@pytest.fixture(autouse=True)
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("overlays", OVERLAYS, ids=["paper", "released", "calibrate"])
def test_every_download_is_known_with_commit_and_licence(overlays):
    for name, entry in load(*overlays)["downloads"].items():
        fact = download_facts()[name]
        places = [entry[key].removeprefix("https://") for key in ("hub", "git", "url") if key in entry]
        by_hand = fact["where"].split(",")[0] in entry.get("hand", "")
        assert by_hand or places[0] in fact["where"], name
        assert entry.get("folder", "") in fact["where"], name
        assert entry["revision"] == fact["commit"], name
        assert entry["licence"] == fact["licence"], name


def test_odd_files_are_named_with_the_pattern_that_nothing_matches():
    assert odd_files("vsm", ["mtg_weights.safetensors", "experiment_cfg.yaml", "README.md"]) == []
    assert odd_files("vsm", ["mtg_weights.safetensors", "run.sh"]) == [
        "no file matches experiment_cfg.yaml",
        "run.sh is not known",
    ]
    assert odd_files("something_of_mine", ["a"]) == []


def test_files_asked_for_are_files_that_are_known():
    for name, entry in load()["downloads"].items():
        known = download_facts()[name]["files"]
        assert set(entry["files"]) <= {*known["needed"], *known["other"]}, name


def test_weights_that_lie_in_a_repository_twice_are_fetched_once():
    downloads = load()["downloads"]
    for name, twice in {
        "flux_fill": "flux1-fill-dev.safetensors",
        "flux_canny": "flux1-canny-dev.safetensors",
        "sdxl_inpaint": "unet/diffusion_pytorch_model.fp16.safetensors",
    }.items():
        assert downloads[name]["files"] and not any(fnmatch(twice, pattern) for pattern in downloads[name]["files"])
        assert set(download_facts()[name]["files"]["needed"]) == set(downloads[name]["files"])
