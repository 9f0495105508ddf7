"""The overlay of a rehearsal follows from the config, whatever that is."""

import pytest
import yaml

from nearid.config import load
from nearid.config.painting import planned_parts
from nearid.config.sizes import shown_split
from nearid.config.uses import find_uses
from nearid.rehearsal.overlay import SHARDS, TEST, TRAIN, VAL, shrink

ALONE = ["released", "plain", "augmented", "sensitivity", "demo"]


def rehearsed(tmp_path, *overlays):
    """The config that is rehearsed, checked, beside the whole one."""
    whole = load(*overlays)
    path = tmp_path / "rehearsal.yaml"
    path.write_text(yaml.safe_dump(shrink(whole, "rehearsal"), sort_keys=False))
    return whole, load(*overlays, path)


@pytest.mark.parametrize("overlays", [[], *([f"config/{name}.yaml"] for name in ALONE)], ids=["paper", *ALONE])
def test_sizes_shrink_and_nothing_else_changes(tmp_path, overlays):
    whole, small = rehearsed(tmp_path, *overlays)
    assert small["select"] == whole["select"]
    for name, scorer in small["scorers"].items():
        assert scorer == whole["scorers"][name] | ({"package": scorer["package"]} if "package" in scorer else {})
    for name, source in small["sources"].items():
        assert source["engine"] == whole["sources"][name]["engine"]
        assert source["working_px"] <= 192 and source["options"].get("steps", 2) == 2
        assert source["options"].keys() == whole["sources"][name]["options"].keys()
    for name, ablation in small["ablations"].items():
        assert ablation["objective"] == whole["ablations"][name]["objective"]
        # Figure 5 moves over kept heads, so some must be kept in so few steps.
        assert bool(ablation["training"].get("keep_every_steps")) == bool(
            whole["ablations"][name]["training"].get("keep_every_steps")
        )
    assert small["training"]["batch_size"] * 3 <= TRAIN and small["training"]["epochs"] == 2
    sizes = small["dataset"]["splits"]
    assert sizes == {"val": VAL, "test": TEST}
    for figure in small["paper"]["figures"].values():
        assert figure["identities"] <= sizes[shown_split(figure) or figure["split"]]


def test_sources_of_other_sizes_stay_apart_and_one_paints_in_parts(tmp_path):
    whole, small = rehearsed(tmp_path)
    sides = {name: source["working_px"] for name, source in small["sources"].items()}
    assert sides["flux"] < sides["flux_1024"] and sides["qwen"] < sides["qwen_1328"]
    assert all(side % 16 == 0 for side in sides.values())
    assert small["dataset"]["shards"] == SHARDS
    assert planned_parts(whole, "flux") > 1


def test_a_source_and_a_scorer_of_ones_own_are_rehearsed_without_a_change(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        """
downloads:
  my_flux: {kind: model, hub: me/flux, licence: mine}
  my_judge: {kind: model, hub: me/judge-7B, licence: mine}
sources:
  mine:
    display: Mine
    engine: flux_fill
    working_px: 2048
    options: {model: resources/my_flux, steps: 80, guidance: 3}
scorers:
  mine: {display: Mine, kind: vlm_judge, model: resources/my_judge}
select:
  {sources: [mine], ablations: [], scorers: [mine], benchmarks: [nearid_bench], groups: [mine], tables: [], figures: []}
groups: {mine: [mine]}
headline_group: mine
"""
    )
    whole, small = rehearsed(tmp_path, mine)
    assert small["sources"]["mine"]["options"]["steps"] == 2 and small["sources"]["mine"]["working_px"] == 256
    uses = {use.download: use.purpose for use in find_uses(whole)}
    assert uses["my_flux"] == "sources flux_fill model" and uses["my_judge"] == "scorers vlm_judge model"
    assert "sdxl_inpaint" not in uses
