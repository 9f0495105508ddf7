"""Scores from images and from cached tokens, stopped runs, and files that two scorers leave."""

import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file
from score_steps import of_mtg, score_mtg, score_nearid_bench
from tiny_models import save_encoder, save_siglip
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.cli import nearid
from nearid.config.settings.tokens import BackboneSettings
from nearid.io.files import read_json, write_json
from nearid.io.tables import read_table
from nearid.scores import embeddings
from nearid.scores.margins import CROSSES, SIMILARITIES
from nearid.scores.mtg import PAIRS
from nearid.tokens import load_backbone
from nearid.tokens.collections import open_collection
from nearid.tokens.extraction import extract

pytestmark = pytest.mark.numerics

TOLERANCE = 1e-3  # float16 tokens, backbone batches of other sizes


@pytest.fixture
def tokenised(world, tmp_path):
    """The world with a tiny SigLIP's real tokens of its images, and an untrained head."""
    folder = save_siglip(tmp_path / "siglip")
    entry = {"kind": "siglip", "path": str(folder), "revision": "", "precision": "float32", "batch_size": 5}
    backbone = load_backbone(BackboneSettings.parse(entry))
    for collection in ("positives", *world.sources, "mtg_test"):
        for shard in ["000"] if collection == "mtg_test" else ["000", "001"]:
            pictures, inputs = open_collection(world.layout, collection, shard, ["test", "val", "train"])
            extract(backbone, "tiny", pictures, inputs, world.layout.tokens("tiny", collection, shard))
    config = SiglipVisionConfig(hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1)
    torch.manual_seed(1)
    head = SiglipMultiheadAttentionPoolingHead(config)
    write_json(world.layout.head_file("t", "config.json"), {"vision_config": config.to_dict()})
    state = {name: weight.contiguous() for name, weight in head.state_dict().items()}
    save_file(state, world.layout.head_file("t"))
    return world, entry


@pytest.mark.parametrize("scorer", [{"kind": "head", "ablation": "t"}, {"kind": "encoder", "readout": "map"}])
def test_scores_from_cached_tokens_are_those_from_images(tokenised, tmp_path, scorer):
    world, entry = tokenised
    settings = world.settings("s", **scorer) | {"backbone": entry}
    for benchmark, score, names in (
        ("nearid_bench", score_nearid_bench, (*SIMILARITIES, *CROSSES)),
        ("mtg", score_mtg, tuple(PAIRS)),
    ):
        tables = []
        for origin in ({}, {"tokens": "images"}):
            path = tmp_path / f"{benchmark}_{len(tables)}.parquet"
            score(settings | origin, world.layout, path)
            tables.append(read_table(path))
        for name in names:
            cached, computed = (table[name].to_numpy() for table in tables)
            np.testing.assert_allclose(cached, computed, atol=TOLERANCE)
            assert np.isfinite(cached).any()


@pytest.mark.parametrize("readout", ["map", "mean"])
@pytest.mark.parametrize("kind", ["clip", "dinov2", "auto"])
def test_encoders_of_other_families_by_their_commands(world, tmp_path, kind, readout):
    model, processor = save_encoder(tmp_path / "model", kind)
    entry = {"kind": kind, "path": str(tmp_path / "model"), "revision": "", "precision": "float32", "batch_size": 4}
    settings = world.settings("s", kind="encoder", readout=readout) | {"backbone": entry, "backbone_id": "other"}
    settings |= {"sources": ["sibling"], "conditions": ["full"], "token_shards": {"positives": 1, "sibling": 1}}
    root = ["--results", str(world.layout.root)]

    def run(*arguments, **values):
        done = CliRunner().invoke(nearid, [*arguments, *root, "--settings", json.dumps(values)])
        assert done.exit_code == 0, done.output

    for collection in ("positives", "sibling"):
        place = ["--backbone", "other", "--collection", collection, "--shard", "000"]
        run("tokens", "extract", *place, backbone=entry, variants={"test": ["full", "fg"]}, shards=["000", "001"])
    run("scores", "nearid-bench", "--scorer", "s", **settings)
    row = read_table(world.layout.scores("s", "nearid_bench")).to_pylist()[0]

    @torch.no_grad()
    def embed(collection):
        image = Image.fromarray(world.images[collection, row["id"], 0])
        pixels = processor(image, return_tensors="pt")["pixel_values"]
        vision = model.vision_model if kind == "clip" else model
        output = vision(pixels)
        if readout == "mean":
            vector = output.last_hidden_state[0, 1:].mean(0)
        else:
            vector = model.visual_projection(output.pooler_output)[0] if kind == "clip" else output.pooler_output[0]
        return torch.nn.functional.normalize(vector, dim=0)

    expected = float(embed("positives") @ embed("sibling"))
    assert row["cross_00"] == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("origin", ["cache", "images"])
def test_a_stopped_embedder_continues(tokenised, tmp_path, monkeypatch, origin):
    world, entry = tokenised
    settings = world.settings("s", kind="head", ablation="t") | {"backbone": entry}
    settings |= {"tokens": "images"} if origin == "images" else {}
    whole, resumed = tmp_path / "whole" / "b.parquet", tmp_path / "resumed" / "b.parquet"
    score_nearid_bench(settings, world.layout, whole, "code")
    embed, asked = embeddings.TokenEmbedder.embed, []

    def stop_at(limit):
        def embed_some(self, collection, images):
            asked.append(collection)
            if len(asked) > limit:
                raise KeyboardInterrupt
            return embed(self, collection, images)

        asked.clear()
        monkeypatch.setattr(embeddings.TokenEmbedder, "embed", embed_some)

    stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        score_nearid_bench(settings, world.layout, resumed, "code")
    assert not resumed.exists()
    stop_at(99)
    score_nearid_bench(settings, world.layout, resumed, "code")
    # 2 conditions each of the views and of two sources; four of these parts were there already.
    assert len(asked) == 2
    assert resumed.read_bytes() == whole.read_bytes()
    assert not (resumed.parent / ".progress").exists()
    # Progress of other code or another head is not used.
    shutil.rmtree(resumed.parent / ".kept")
    stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        score_nearid_bench(settings, world.layout, resumed, "code")
    stop_at(99)
    score_nearid_bench(settings, world.layout, resumed, "other code")
    assert len(asked) == 6


def test_another_source_scores_that_one_alone(tokenised, tmp_path, monkeypatch):
    world, entry = tokenised
    settings = world.settings("s", kind="head", ablation="t") | {"backbone": entry}
    whole, grown = tmp_path / "whole" / "b.parquet", tmp_path / "grown" / "b.parquet"
    score_nearid_bench(settings, world.layout, whole, "code")
    embed, asked = embeddings.TokenEmbedder.embed, []

    def listen(self, collection, images):
        asked.append(collection)
        return embed(self, collection, images)

    monkeypatch.setattr(embeddings.TokenEmbedder, "embed", listen)
    first, second = settings["sources"]
    score_nearid_bench(settings | {"sources": [first]}, world.layout, grown, "code")
    assert set(asked) == {"positives", first}
    asked.clear()
    score_nearid_bench(settings, world.layout, grown, "code")
    assert set(asked) == {"positives", second}
    assert grown.read_bytes() == whole.read_bytes()
    asked.clear()
    score_nearid_bench(settings | {"sources": [second, first]}, world.layout, grown, "code")
    assert asked == []
    score_nearid_bench(settings, world.layout, grown, "other code")
    assert set(asked) == {"positives", first, second}


def test_two_scorers_write_no_file_in_common(tokenised):
    world, entry = tokenised
    written = {}
    for scorer_id in ("one", "two"):
        before = {path: path.stat().st_mtime_ns for path in world.layout.root.rglob("*")}
        settings = world.settings(scorer_id, kind="head", ablation="t") | {"backbone": entry}
        summary = {"scorer_id": scorer_id, "groups": {"all": list(world.sources)}, "headline_group": "all", "seed": 0}
        summary |= {"benchmarks": ["nearid_bench", "mtg"]}
        steps = {"nearid-bench": settings, "mtg": of_mtg(settings), "summarise": summary}
        for command, values in steps.items():
            options = ["--results", str(world.layout.root), "--scorer", scorer_id, "--settings", json.dumps(values)]
            done = CliRunner().invoke(nearid, ["scores", command, *options])
            assert done.exit_code == 0, done.output
        files = [path for path in world.layout.root.rglob("*") if path.is_file()]
        written[scorer_id] = {path for path in files if before.get(path) != path.stat().st_mtime_ns}
    assert written["one"] and not written["one"] & written["two"]
    assert all(path.is_relative_to(world.layout.scores("two", "mtg").parent) for path in written["two"])


def test_an_mtg_image_without_a_mask_has_no_foreground(world, tmp_path):
    world.write_tokens("mtg_test", "000", without={(3, 2, "fg")})
    score_mtg(world.settings(), world.layout, tmp_path / "mtg.parquet")
    rows = {(row["condition"], row["sample"]): row for row in read_table(tmp_path / "mtg.parquet").to_pylist()}
    assert np.isnan(rows["fg", 3]["s_11e"]) and np.isfinite(rows["fg", 3]["s_12"])
    assert np.isfinite(rows["full", 3]["s_11e"])


def test_a_table_for_an_encoder_of_ones_own(tokenised, tmp_path, monkeypatch):
    world, entry = tokenised
    overlay = tmp_path / "own.yaml"
    overlay.write_text(
        f"""
name: tiny
results_dir: {world.layout.root.parent}
dataset: {{shards: 2}}
sources: {{sibling: {{display: S, engine: sibling}}, cut_paste: {{display: C, engine: cut_paste}}}}
groups: {{all: [sibling, cut_paste], train: [sibling]}}
headline_group: all
select: {{sources: [sibling, cut_paste], groups: [all, train], scorers: [], ablations: [], tables: [], figures: []}}
"""
    )
    options = ["--dataset", "rendered", "--config", "config/demo.yaml", "--config", str(overlay)]
    done = CliRunner().invoke(nearid, ["bench", "--encoder", entry["path"], *options])
    assert done.exit_code == 0, done.output
    assert "all of train" in done.output and "M-O pair" in done.output and "fg PA" in done.output
    folder = next(world.layout.root.glob("scores/own_*"))
    told = CliRunner().invoke(nearid, ["bench", "--encoder", entry["path"], *options, "--json"])
    assert json.loads(told.stdout) == read_json(folder / "metrics.json")
    # The protocol's own numbers, from the cache, for the same model.
    settings = world.settings("s", kind="encoder", readout="map") | {"backbone": entry}
    score_nearid_bench(settings, world.layout, tmp_path / "cached.parquet")
    own, cached = (
        read_table(path)["cross_00"].to_numpy()
        for path in (folder / "nearid_bench.parquet", tmp_path / "cached.parquet")
    )
    np.testing.assert_allclose(own, cached, atol=TOLERANCE)
    # A scorer of the config, from cached tokens.
    (world.layout.root / "tokens/demo_siglip").symlink_to("tiny")
    done = CliRunner().invoke(nearid, ["bench", "--encoder", "siglip2_mean", *options])
    assert done.exit_code == 0 and "M-O pair" in done.output, done.output
    refused = CliRunner().invoke(
        nearid, ["bench", "--encoder", entry["path"], *options, "--results", str(tmp_path / "no")]
    )
    assert refused.exit_code == 2 and "inpaint_shard" in refused.output
