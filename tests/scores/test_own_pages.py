"""The entries, file and commands of docs/own_encoder.md and docs/own_scorer.md, verbatim."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from score_steps import score_nearid_bench
from tiny_models import save_encoder, save_siglip

from nearid.cli import nearid
from nearid.config import load, missing_members, step_settings
from nearid.config.settings.scores import ScoreMTG, ScoreNearIDBench, ServedJudge
from nearid.io.tables import read_table
from nearid.scores import scorers

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def page(name):
    """(language, content) of a page's code blocks."""
    return re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL)


def on_the_world(world, settings):
    """A step's settings on the tiny world's sources."""
    return settings | {"sources": list(world.sources)}


def test_own_encoder_s_entry_scores_a_model_of_another_family(world, tmp_path):
    folder = tmp_path / "model"
    save_encoder(folder, "dinov2")
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(dict(page("own_encoder.md"))["yaml"].replace("path/to/model", str(folder)))
    config = load("config/demo.yaml", overlay)
    assert missing_members(config) == missing_members(load("config/demo.yaml"))
    settings = step_settings("score_nearid_bench", config, scorer="mine")
    assert (settings["backbone"]["kind"], settings["backbone_id"]) == ("auto", "mine")
    score_nearid_bench(on_the_world(world, settings) | {"tokens": "images"}, world.layout, tmp_path / "scores.parquet")
    assert np.isfinite(read_table(tmp_path / "scores.parquet")["cross_00"].to_numpy()).any()
    assert "mine" in [scorer["id"] for scorer in step_settings("make_table", config, table="table1")["run"]["scorers"]]


def test_own_encoder_s_first_command(world, tmp_path):
    folder = save_siglip(tmp_path / "siglip")
    overlay = tmp_path / "own.yaml"
    overlay.write_text(
        f"name: tiny\nresults_dir: {world.layout.root.parent}\ndataset: {{shards: 2}}\nheadline_group: all\n"
        "groups: {all: [sibling, cut_paste]}\n"
        "select: {sources: [sibling, cut_paste], groups: [all], scorers: [], ablations: [], tables: [], figures: []}\n"
    )
    line = dict(page("own_encoder.md"))["bash"].splitlines()[0].split(" #")[0].replace("PATH", str(folder))
    words = [*shlex.split(line)[1:], "--config", "config/demo.yaml", "--config", str(overlay)]
    done = CliRunner().invoke(nearid, words)
    assert done.exit_code == 0 and "SSR" in done.output, done.output


def test_own_scorer_s_file_and_entry(world, tmp_path, monkeypatch):
    blocks = dict(page("own_scorer.md"))
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds/tiles.py").write_text(blocks["python"])
    overlay = tmp_path / "tiles.yaml"
    overlay.write_text(blocks["yaml"])
    config = load("config/demo.yaml", overlay)
    assert missing_members(config) == {"nearid.scores.scorers.tiles": ["scorers.tiles"]}
    monkeypatch.setattr(scorers, "__path__", [*scorers.__path__, str(tmp_path / "kinds")])
    settings = step_settings("score_nearid_bench", config, scorer="tiles")
    score_nearid_bench(on_the_world(world, settings), world.layout, tmp_path / "scores.parquet")
    rows = read_table(tmp_path / "scores.parquet").to_pylist()
    row = next(row for row in rows if row["condition"] == "full" and row["source"] == "sibling")
    views = [world.images["positives", row["id"], slot] for slot in (0, 1)]
    first, second = scorers.load_scorer(ScoreNearIDBench.parse(settings), world.layout).embed_pixels(views)
    assert row["sim_01"] == pytest.approx(float(first @ second), abs=1e-5)


def test_a_judge_s_server_takes_the_place_of_its_model(tmp_path):
    overlay = tmp_path / "served.yaml"
    overlay.write_text(next(text for _, text in page("scorers.md") if 'model: ""' in text))
    settings = ScoreMTG.parse(step_settings("score_mtg", load(overlay), scorer="qwen3vl_30b"))
    assert isinstance(settings.scorer, ServedJudge) and settings.scorer.concurrency == 64
