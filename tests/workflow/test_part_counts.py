"""Painting is divided by the number of identities that there really are."""

import copy
import json
from pathlib import Path

import pytest

from nearid.config import load
from nearid.config.counts import count_identities
from nearid.config.painting import parts_of_shard, planned_parts
from nearid.layout import Layout

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = copy.deepcopy(load())
    monkeypatch.chdir(tmp_path)
    return config


def bring(folder, count):
    folder.mkdir(parents=True)
    records = [{"filenames": ["a.png", "b.png"]} for _ in range(count)]
    (folder / "metadata.json").write_text(json.dumps(records))


@pytest.mark.parametrize("place", ["resources/syncd", "mirror/syncd"])
def test_a_small_release_is_painted_in_few_jobs(config, tmp_path, place):
    assert count_identities(config) == 19_386 and planned_parts(config, "flux") >= 5
    bring(tmp_path / place, 28)
    config["mirror"] = "mirror"
    assert count_identities(config) == 28 and planned_parts(config, "flux") == 1


def test_the_papers_own_stays_as_it_was(config, tmp_path):
    before = planned_parts(config, "flux_1024")
    bring(tmp_path / "resources/syncd", 30_000)
    assert count_identities(config) == 19_386 and planned_parts(config, "flux_1024") == before


def test_what_was_cut_before_the_release_was_there_is_put_together_as_it_was(config, tmp_path):
    layout = Layout(tmp_path / "results")
    planned = planned_parts(config, "flux")
    marks = [layout.painted("flux", "000", part, planned) for part in range(1, planned + 1)]
    marks[0].parent.mkdir(parents=True)
    bring(tmp_path / "resources/syncd", 28)
    for mark in marks[:-1]:
        mark.touch()
    assert parts_of_shard(config, layout, "flux", "000") == 1, "not all of it is painted"
    marks[-1].touch()
    assert parts_of_shard(config, layout, "flux", "000") == planned
    assert parts_of_shard(config, layout, "flux", "001") == 1
