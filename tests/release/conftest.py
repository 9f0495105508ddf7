"""A tiny run that was really made: images, a random SigLIP's tokens, a head, scores by the project's own steps."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

from nearid.config.settings.scores import ScoreNearIDBench
from nearid.config.settings.tokens import BackboneSettings
from nearid.data.schema import DISTRACTORS, IDENTITIES, POSITIVES
from nearid.io.files import write_json, write_text
from nearid.io.images import encode_png
from nearid.io.tables import IMAGE, write_table
from nearid.layout import Layout
from nearid.scores.nearid_bench import score_nearid_bench
from nearid.tokens.backbones import load_backbone
from nearid.tokens.collections import open_collection
from nearid.tokens.extraction import extract

VISION = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}


def random_model(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SiglipVisionModel(SiglipVisionConfig(**VISION, image_size=28, patch_size=7))
        for parameter in model.parameters():  # zero biases would hide a forgotten one
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("release")
    backbone = root / "backbone"
    random_model(0).save_pretrained(backbone)
    processor = SiglipImageProcessorPil(size={"height": 28, "width": 28}, image_mean=[0.4] * 3, image_std=[0.3] * 3)
    processor.save_pretrained(backbone)
    write_text(backbone / "README.md", "---\nlicense: mit\n---\n")

    layout, rng = Layout(root / "results/tiny"), np.random.default_rng(0)
    rows = [
        {"row": row, "id": 50 + row, "shard": "000", "shard_row": row, "split": "test", "class_name": "mug"}
        | {"category": "mug", "category_description": "a <b>mug</b>", "n_images": 2, "name": f"mug {row}"}
        for row in range(4)
    ]
    images = {(c, row["id"], slot): rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
              for c in ("positives", "sibling") for row in rows for slot in (0, 1)}  # fmt: skip
    mask = encode_png(np.tri(40, 30, dtype=bool))

    def columns(schema, collection=""):
        def value(row, name, dtype):
            if dtype != IMAGE:
                return row.get(name)
            pixels = images.get((collection, row["id"], int(name[-1]) - 1))
            return None if pixels is None else mask if name.startswith("masks") else encode_png(pixels)

        return {field.name: [value(row, field.name, field.type) for row in rows] for field in schema}

    write_table(layout.identities, columns(IDENTITIES), IDENTITIES)
    write_json(layout.splits, {"train": [], "val": [], "test": [0, 1, 2, 3], "seed": 0})
    write_table(layout.positives("000"), columns(POSITIVES, "positives"), POSITIVES)
    write_table(layout.distractors("sibling", "000"), columns(DISTRACTORS, "sibling"), DISTRACTORS)

    settings = {"kind": "siglip", "path": str(backbone), "revision": "", "precision": "float32", "batch_size": 4}
    model = load_backbone(BackboneSettings.parse(settings))
    for collection in ("positives", "sibling"):
        pictures, inputs = open_collection(layout, collection, "000", ["test"])
        extract(model, "tiny", pictures, inputs, layout.tokens("tiny", collection))
    head = random_model(1).head
    save_file({k: v.contiguous() for k, v in head.state_dict().items()}, _made(layout.head_file("nearid")))
    training = {"epochs": 1, "batch_size": 2, "learning_rate": 0.1}
    trained = {"ablation": "nearid", "backbone": settings, "backbone_id": "tiny", "objective": "nearid", "seed": 0}
    trained |= {"params": {"alpha": 0.5}, "mix": {"sources": ["sibling"]}, "training": training}
    config = {"settings": trained, "vision_config": model.config.to_dict(), "deepspeed": {}}
    write_json(layout.head_file("nearid", "config.json"), config)
    scoring = {"scorer": {"kind": "head", "ablation": "nearid"}, "scorer_id": "nearid", "sources": ["sibling"]}
    scoring |= {"conditions": ["full", "fg"], "split": "test", "backbone_id": "tiny", "backbone": settings}
    scoring |= {"token_shards": {"positives": 1, "sibling": 1}}
    score_nearid_bench(ScoreNearIDBench.parse(scoring), layout, layout.scores("nearid", "nearid_bench"))
    group = {"ssr": 75.0, "ssr_ci": [50.0, 100.0], "n": 4, "pa": 80.5, "trials": 8}
    write_json(layout.metrics("nearid"), {"nearid_bench": {"full": {"groups": {"all": group}}}})
    return SimpleNamespace(layout=layout, images=images, backbone=backbone, scoring=scoring, root=root)


@pytest.fixture
def picture(tmp_path):
    """Writes a picture of random pixels, or of given ones."""

    def write(name, pixels=None, **options):
        if pixels is None:
            pixels = np.random.default_rng(len(name)).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)
        return path

    return write


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
