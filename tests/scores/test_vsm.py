"""VSM: the share of matches against a slow count, and the scorer with a stand-in of the external package."""

import json
import math
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from score_steps import score_mtg, score_nearid_bench

from nearid.cli import nearid
from nearid.config.settings.scores import ScoreNearIDBench
from nearid.errors import UserError
from nearid.io.downloads import check_code, fetch
from nearid.io.images import encode_png
from nearid.io.mirror import Mirror
from nearid.io.tables import read_table
from nearid.rehearsal.matcher import CHECKOUT, save_features, save_matcher
from nearid.rehearsal.pipelines import save_stable_diffusion
from nearid.scores.correspondences import match_share
from nearid.scores.scorers import Shown
from nearid.scores.scorers.vsm import Scorer
from nearid.tokens.collections import Picture


@pytest.fixture
def weights(tmp_path):
    save_matcher(tmp_path / "vsm_weights")
    return tmp_path / "vsm_weights"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """What the package loads from the hub, in fetched form."""
    root = tmp_path_factory.mktemp("hub")
    save_features(root / "cleandift")
    save_stable_diffusion(root / "diffusion")
    return {
        "CompVis/cleandift": str(root / "cleandift"),
        "stabilityai/stable-diffusion-2-1": str(root / "diffusion"),
    }


def test_the_share_counts_each_target_once():
    rng = np.random.default_rng(0)
    for _ in range(50):
        count = int(rng.integers(0, 30))
        targets = rng.integers(0, 4, (count, 2)).astype(float)
        semantic, visual = rng.uniform(0.3, 1, count), rng.uniform(0.3, 1, count)
        by_target = {}
        for place, good, same in zip(map(tuple, targets.tolist()), semantic, visual, strict=True):
            if good > 0.6:
                by_target[place] = max(by_target.get(place, (0, 0)), (good, same))
        expected = sum(same > 0.6 for _, same in by_target.values()) / len(by_target) if by_target else math.nan
        assert match_share(targets, semantic, visual) == pytest.approx(expected, nan_ok=True)


def settings_for(world, weights, hub, **entry):
    return world.settings("vsm", kind="vsm", package=str(CHECKOUT), model=str(weights), hub=dict(hub), **entry)


def test_the_authors_run_and_one_with_true_masks(world, weights, hub, tmp_path):
    settings = settings_for(world, weights, hub)
    done = CliRunner().invoke(
        nearid,
        [
            "scores",
            "nearid-bench",
            "--results",
            str(world.layout.root),
            "--scorer",
            "vsm",
            "--settings",
            json.dumps(settings),
        ],
    )
    assert done.exit_code == 0, done.output
    white = read_table(world.layout.scores("vsm", "nearid_bench")).to_pandas()
    own = tmp_path / "own.parquet"
    score_nearid_bench(settings_for(world, weights, hub, distractor_masks="own"), world.layout, own)
    own = read_table(own).to_pandas()
    assert white["sim_01"].equals(own["sim_01"]) and not white["cross_00"].equals(own["cross_00"])
    for table in (white, own):
        # Masks decide what is compared, so the foreground is the same pair.
        parts = [
            table[table.condition == name].drop(columns="condition").reset_index(drop=True) for name in ("full", "fg")
        ]
        assert parts[0].equals(parts[1])
    lines = world.layout.scores("vsm", "nearid_bench").with_suffix(".answers.jsonl").read_text().splitlines()
    assert len(lines) == 11 + 13 + 12 and all("points" in line for line in lines)


def test_mtg_compares_inside_both_masks_and_needs_them(world, weights, hub, tmp_path):
    score_mtg(settings_for(world, weights, hub), world.layout, tmp_path / "mtg.parquet")
    assert np.isfinite(read_table(tmp_path / "mtg.parquet")["s_12"].to_numpy()).all()


@pytest.mark.parametrize("lost", ["package", "weights", "config", "hub"])
def test_what_is_not_there_is_named(world, weights, hub, tmp_path, lost):
    settings = settings_for(world, weights, hub)
    if lost == "package":
        settings["scorer"]["package"] = str(tmp_path)
    elif lost == "hub":
        settings["scorer"]["hub"]["CompVis/cleandift"] = str(tmp_path / "none")
    else:
        (weights / {"weights": "mtg_weights.safetensors", "config": "experiment_cfg.yaml"}[lost]).unlink()
    with pytest.raises(UserError, match=r"mtg|experiment_cfg|cleandift") as raised:
        score_nearid_bench(settings, world.layout, tmp_path / "out.parquet")
    assert "scorers.vsm" in raised.value.where and "package" in raised.value.action


def test_a_package_that_cannot_be_used_is_named(world, weights, hub, tmp_path):
    (weights / "experiment_cfg.yaml").write_text("dtype: float32\nmodel: {name: NoSuchModel}\n")
    with pytest.raises(UserError, match="NoSuchModel"):
        score_nearid_bench(settings_for(world, weights, hub), world.layout, tmp_path / "out.parquet")


def test_what_the_package_asks_of_the_hub_must_be_among_the_folders(world, weights, hub, tmp_path):
    settings = settings_for(world, weights, hub)
    del settings["scorer"]["hub"]["stabilityai/stable-diffusion-2-1"]
    with pytest.raises(UserError, match="stabilityai/stable-diffusion-2-1"):
        score_nearid_bench(settings, world.layout, tmp_path / "out.parquet")


def plant_module(folder):
    (folder / "omegaconf_.py").write_text("")


def change_module(folder):
    module = folder / "mtg/models/model.py"
    module.write_text(module.read_text().replace("import", "import", 1)[:-1] + "#")


@pytest.mark.parametrize(("spoil", "says"), [(plant_module, "not fetched"), (change_module, "than was fetched")])
def test_the_checkout_is_imported_only_as_it_was_fetched(world, weights, hub, tmp_path, spoil, says):
    entry = {"git": "https://example.com/mtg", "revision": "0" * 40, "files": [], "unpack": False, "licence": "test"}
    mirror, package = tmp_path / "mirror", tmp_path / "resources" / "vsm_code"
    shutil.copytree(CHECKOUT, mirror, ignore=shutil.ignore_patterns("__pycache__"))
    fetch("vsm_code", entry, package, Mirror(mirror))
    check_code(package)
    spoil(package)
    settings = settings_for(world, weights, hub) | {"conditions": ["full"]}
    settings["scorer"]["package"] = str(package)
    with pytest.raises(UserError, match=says):
        score_nearid_bench(settings, world.layout, tmp_path / "bench.parquet")


@pytest.mark.parametrize("resize", ["nearest", "bilinear"])
def test_raw_masks_weigh_by_their_grey_values(world, weights, hub, resize):
    """Against PIL alone: grey values kept, resized as configured."""
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 255, (40, 30), dtype=np.uint8)
    image = rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)
    picture = Picture("p", 1, 0, encode_png(image), encode_png(grey))
    shown = Shown("positives", picture, "full")
    how = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}[resize]
    keys = set()
    for masks, expected in (("raw", grey), ("cleaned", np.where(grey > 0, 255, 0).astype(np.uint8))):
        settings = settings_for(world, weights, hub, masks=masks, mask_resize=resize)
        scorer = Scorer(ScoreNearIDBench.parse(settings), world.layout)
        _, mask = scorer._prepare(shown)
        assert np.array_equal(np.asarray(mask), np.asarray(Image.fromarray(expected).resize((768, 768), how)))
        keys.add(scorer.key((shown, shown)))
    assert len(keys) == 2
