"""The nine sources of config.yaml have the paper's settings, and their engines accept these."""

from pathlib import Path

import pytest

from nearid.config import complete, load, step_settings
from nearid.config.loading import BASE
from nearid.config.settings.distractors import InpaintShard
from nearid.distractors.engines import open_engine
from nearid.distractors.pool import Pool
from nearid.layout import Layout

ROOT = Path(__file__).parents[2]
TRAINED_ON = {"flux", "flux_1024", "qwen", "qwen_1328"}
PAPER = {
    "flux": ("flux_fill", 512, {"steps": 50, "guidance": 30.0}),
    "flux_1024": ("flux_fill", 1024, {"steps": 50, "guidance": 30.0}),
    "qwen": ("qwen_controlnet", 512, {"steps": 8, "guidance": 1.0, "scheduler": "flow_match_euler"}),
    "qwen_1328": ("qwen_controlnet", 1328, {"steps": 8, "guidance": 1.0, "scheduler": "flow_match_euler"}),
    "powerpaint": ("powerpaint", 640, {"steps": 45, "guidance": 7.5, "conditioning_scale": 1.0, "scheduler": "unipc"}),
    "sdxl": ("sdxl_inpaint", 512, {"steps": 30, "guidance": 8.0, "strength": 0.99}),
    "sdxl_1024": ("sdxl_inpaint", 1024, {"steps": 30, "guidance": 8.0, "strength": 0.99}),
    "fluxc": ("flux_canny", 512, {"steps": 28, "guidance": 7.0, "strength": 0.99, "canny": [50, 200]}),
    "fluxc_1024": ("flux_canny", 1024, {"steps": 28, "guidance": 7.0, "strength": 0.99, "canny": [50, 200]}),
}


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.chdir(ROOT)
    return load(BASE)


@pytest.mark.parametrize("source_id", PAPER)
def test_the_papers_settings_are_in_the_config_and_taken_by_the_engine(config: dict, source_id: str) -> None:
    settings = step_settings("inpaint_shard", config, source=source_id)
    name, working_px, options = PAPER[source_id]
    source = settings["source"]
    assert (source["engine"], source["working_px"]) == (name, working_px)
    assert options.items() <= source["options"].items()
    parsed = InpaintShard.parse(settings)
    open_engine(parsed.source, parsed.dataset, 0, Pool(Layout(Path("nowhere"))))


def test_what_no_mix_trains_on_is_painted_for_test_identities_only(config: dict) -> None:
    for source_id in PAPER:
        splits = step_settings("inpaint_shard", config, source=source_id)["splits"]
        assert splits == (["train", "val", "test"] if source_id in TRAINED_ON else ["test"])
    config["sources"]["sdxl"]["splits"] = []
    assert step_settings("inpaint_shard", complete(config), source="sdxl")["splits"] == ["val", "test"]


def test_a_released_set_takes_the_place_of_an_engine(config: dict) -> None:
    config["released"] = {"flux": "resources/nearid_flux"}
    source = step_settings("inpaint_shard", config, source="flux")["source"]
    assert (source["engine"], source["paste_back"]) == ("released", False)
    assert step_settings("inpaint_shard", config, source="flux_1024")["source"]["engine"] == "flux_fill"
