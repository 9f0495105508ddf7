"""What a config need not say: each member is one entry in one place, and leaving out is one line."""

from pathlib import Path

import pytest

from nearid.config import load, required_downloads, step_settings
from nearid.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def changed(tmp_path):
    """Loads the paper's config with a few lines on top, and overlays below them if given."""

    def load_with(text, *below):
        path = tmp_path / "overlay.yaml"
        path.write_text(text)
        return load(*below, path)

    return load_with


def test_config_says_first_what_it_costs_and_is_short():
    lines = Path("config.yaml").read_text().splitlines()
    assert len(lines) <= 210
    opening = "\n".join(lines[:10])
    assert all(word in opening for word in ("GPU hours", "GB of disk", "jobs", "comes out"))


def test_a_head_is_one_entry(changed):
    config = changed("ablations: {mine: {display: Mine, objective: nearid, mix: nearid_mtg, shown_in: [table1]}}")
    assert config["select"]["ablations"][-1] == config["select"]["scorers"][-1] == "mine"
    scorer = config["scorers"]["mine"]
    assert (scorer["kind"], scorer["ablation"], scorer["display"]) == ("head", "mine", "Mine")
    assert config["paper"]["tables"]["table1"]["scorers"][-2:] == ["nearid", "mine"]
    assert config["paper"]["tables"]["table3"] == load()["paper"]["tables"]["table3"]


def test_a_head_with_several_seeds_is_one_entry(changed):
    entry = "display: Mine, objective: nearid, mix: nearid_mtg, choice: mine"
    config = changed(f"ablations: {{mine: {{{entry}, seeds: [3, 1]}}, mine_1: {{params: {{alpha: 0.2}}}}}}")
    assert config["select"]["ablations"][-2:] == config["select"]["scorers"][-2:] == ["mine_3", "mine_1"]
    heads = [step_settings("train_head", config, ablation=name) for name in ("mine_3", "mine_1")]
    assert [(head["seed"], head["params"].get("alpha")) for head in heads] == [(3, None), (1, 0.2)]
    assert config["scorers"]["mine_3"]["display"] == "Mine (3)" and config["scorers"]["mine_1"]["choice"] == "mine"
    chosen = changed(f"ablations: {{mine: {{{entry}, seeds: [3, 1]}}}}\nselect: {{ablations: [nearid, mine]}}")
    assert chosen["select"]["ablations"] == ["nearid", "mine_3", "mine_1"]
    left = changed(f"ablations: {{mine: {{{entry}, seeds: [3, 1]}}}}\nselect: {{drop: {{mine: too slow}}}}")
    assert not {"mine_3", "mine_1"} & set(left["select"]["ablations"])
    for seeds in ("seeds: []", "seeds: [1, 1]", "seeds: [-1]", "seeds: 3", "seeds: [true]", "seed: 1, seeds: [2]"):
        with pytest.raises(UserError, match="mine"):
            changed(f"ablations: {{mine: {{{entry}, {seeds}}}}}")


def test_a_heads_scorer_says_only_what_is_different(changed):
    config = changed("scorers: {circle: {benchmarks: [mtg]}}")
    assert config["scorers"]["circle"]["ablation"] == "circle"
    assert config["scorers"]["circle"]["benchmarks"] == ["mtg"]


def test_a_source_is_one_entry(changed):
    text = "sources: {ours: {display: Ours, engine: sdxl_inpaint, groups: [main7, own], options: {model: my/model}}}"
    config = changed(text)
    assert config["select"]["sources"][-1] == "ours"
    assert config["groups"]["main7"][-1] == "ours" and config["groups"]["own"] == ["ours"]
    assert "own" in config["select"]["groups"]


def test_a_group_that_is_listed_has_what_is_listed(changed):
    assert changed("groups: {main7: [flux]}")["groups"]["main7"] == ["flux"]


def test_leaving_out_is_one_line(changed):
    config = changed("select: {drop: [qwen3vl_30b]}")
    assert "qwen3vl_30b" not in config["select"]["scorers"]
    run = step_settings("make_table", config, table="table1")["run"]
    assert [scorer["id"] for scorer in run["left_out"]] == ["qwen3vl_30b"]


def test_what_an_overlay_lists_can_be_added_to(changed):
    below = ["config/demo.yaml", "config/test.yaml"]
    before, after = (
        load(*below),
        changed("select: {add: [circle, sensitivity]}\npaper: {tables: {sensitivity: {}}}", *below),
    )
    for kind, added in (("ablations", ["circle"]), ("scorers", ["circle"]), ("tables", ["sensitivity"])):
        assert after["select"][kind] == [*before["select"][kind], *added]
    with pytest.raises(UserError, match="did you mean `circle`"):
        changed("select: {add: [cirle]}", *below)


def test_tables_and_figures_have_the_papers_rows_that_run(changed):
    config = changed("select: {ablations: [], scorers: [clip, siglip2, gpt4o]}")
    tables, figures = config["paper"]["tables"], config["paper"]["figures"]
    assert tables["table1"]["scorers"] == ["clip", "siglip2"] and tables["table2"]["scorers"] == ["gpt4o"]
    assert figures["margins"]["scorers"] == ["clip", "siglip2"]
    assert config["select"]["tables"] == ["table1", "table2", "table3", "table5", "table6", "table7", "table10", "data"]
    assert not {"figure3", "figure5", "training", "weights"} & set(config["select"]["figures"])


def test_another_scorer_stands_in_the_papers_row():
    config = load("config/released.yaml", "config/calibrate.yaml")
    assert config["paper"]["tables"]["table5"]["scorers"] == ["siglip2", "nearid_released"]
    assert config["paper"]["figures"]["figure4"]["scorers"] == ["nearid_released", "siglip2_mean", "dino", "gpt4o"]


def test_nothing_is_pooled_over_less_in_silence(changed):
    with pytest.raises(UserError, match="main7"):
        changed("select: {sources: [flux]}")


def test_a_known_download_needs_no_entry_and_takes_another_commit(changed):
    config = changed("downloads: {flux_fill: {revision: 0123}}".replace("0123", "'0123'"))
    assert config["downloads"]["flux_fill"]["revision"] == "0123"
    assert config["downloads"]["flux_fill"]["hub"] == "black-forest-labs/FLUX.1-Fill-dev"
    settings = step_settings("inpaint_shard", config, source="flux")
    assert "flux_fill" in required_downloads(settings, config)


def test_a_download_from_elsewhere_is_taken_as_it_stands(changed):
    config = changed("downloads: {flux_fill: {kind: model, hub: me/mine, licence: mine}}")
    assert config["downloads"]["flux_fill"] == {
        "kind": "model", "hub": "me/mine", "licence": "mine", "revision": "", "files": [], "unpack": False,
    }  # fmt: skip
