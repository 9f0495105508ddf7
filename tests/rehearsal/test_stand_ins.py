"""Every stand-in is laid out as the real download is, by what is known of that."""

import json
import re
from zipfile import ZipFile

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from nearid.config import load
from nearid.config.facts import download_facts, odd_files
from nearid.data.schema import POSITIVES
from nearid.rehearsal.workspace import fill_mirror


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """Stand-ins of all that config.yaml and its overlays download."""
    root = tmp_path_factory.mktemp("rehearsal")
    released = ["config/released.yaml"]
    names = [
        name
        for overlays in ([], released, [*released, "config/calibrate.yaml"])
        for name in fill_mirror(load(*overlays), root, {})
    ]
    assert set(names) == set(download_facts()) - {"nearid_splits", "dreambench_plus"}, "no step reads those two here"
    return root / "mirror"


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_files_are_those_of_the_real_downloads(mirror):
    """No file is missing that a step reads, and none is there that the real one would not have."""
    files = {folder.name: files_of(folder) for folder in mirror.iterdir() if folder.is_dir()}
    # What people bring is known by what is in the archive.
    files["dreambench_samples"] += ZipFile(mirror / "dreambench_samples/samples.zip").namelist()
    odd = {name: odd_files(name, listed) for name, listed in files.items()}
    assert {name: problems for name, problems in odd.items() if problems} == {}


def test_columns_of_the_released_sets(mirror):
    positives = pq.read_schema(next((mirror / "nearid/data").glob("*.parquet")))
    assert positives.remove_metadata() == POSITIVES
    distractors = pq.read_schema(next((mirror / "nearid_flux/data").glob("*.parquet"))).names
    # docs/protocol.md 1.3, no column of ours among them.
    expected = ["id", "category", "category_description", "nimg1", "nimg2", "nimg3", "n_images", "objaverse_id"]
    assert distractors == [*expected, "prompts1", "prompts2", "prompts3", "quality"]
    edits = pq.read_schema(next((mirror / "mtg/data").glob("test-*.parquet"))).names
    kinds = ("original", "inpainted", "object_mask", "part_mask")
    assert sorted(edits) == sorted(f"image_{number}_{kind}" for number in (1, 2) for kind in kinds)


def test_records_of_syncd(mirror):
    records = json.loads((mirror / "syncd/metadata.json").read_text())
    keys = {
        "filenames",
        "prompts",
        "original_filenames",
        "objaverse_id",
        "category",
        "dino_scores",
        "aesthetics_scores",
    }
    assert all(keys <= set(record) <= keys | {"category_description"} for record in records)
    assert {record["category"] for record in records} == {"rigid", "deformable"}
    assert all(record["objaverse_id"] == "" for record in records if record["category"] == "deformable")


PIPELINES = {
    "flux_fill": "FluxFillPipeline",
    "flux_canny": "FluxControlPipeline",
    "qwen_image": "QwenImagePipeline",
    "sdxl_inpaint": "StableDiffusionXLInpaintPipeline",
    "powerpaint/realisticVisionV60B1_v51VAE": "StableDiffusionPipeline",
}


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_name_the_released_class(mirror, name):
    assert json.loads((mirror / name / "model_index.json").read_text())["_class_name"] == PIPELINES[name]


@pytest.mark.parametrize(
    ("file", "precision"),
    [
        ("flux_fill/transformer/diffusion_pytorch_model.safetensors", torch.bfloat16),
        ("qwen_image/transformer/diffusion_pytorch_model.safetensors", torch.bfloat16),
        ("sdxl_inpaint/unet/diffusion_pytorch_model.fp16.safetensors", torch.float16),
        ("sdxl_inpaint/unet/diffusion_pytorch_model.safetensors", torch.float32),
        ("siglip2_so400m/model.safetensors", torch.float32),
        ("qwen3vl_30b/model-00001-of-*.safetensors", torch.bfloat16),
    ],
)
def test_weights_have_the_released_precision(mirror, file, precision):
    (path,) = mirror.glob(file)
    assert {weight.dtype for weight in load_file(path).values()} == {precision}


def test_names_inside_the_weights(mirror):
    """What our own loaders look for by name (docs/generators.md 3)."""
    brushnet = load_file(mirror / "powerpaint/PowerPaint_Brushnet/diffusion_pytorch_model.safetensors")
    prefixes = {re.match(r"[a-z_]+", key)[0] for key in brushnet}
    assert {"conv_in_condition", "brushnet_down_blocks", "brushnet_mid_block", "brushnet_up_blocks"} <= prefixes
    words = torch.load(mirror / "powerpaint/PowerPaint_Brushnet/pytorch_model.bin", weights_only=True)
    table = "text_model.embeddings.token_embedding"
    assert {f"{table}.wrapped.weight", f"{table}.trainable_embeddings.P_obj"} <= words.keys()
    lora = load_file(mirror / "qwen_lightning/Qwen-Image-Lightning-8steps-V1.1.safetensors")
    assert {key.rsplit(".attn.to_q.", 1)[1] for key in lora if ".attn.to_q." in key} == {
        "lora_down.weight",
        "lora_up.weight",
        "alpha",
    }
    head = load_file(mirror / "nearid_siglip2/model.safetensors")
    assert "backbone.vision_model.head.probe" in head and all(key.startswith("backbone.") for key in head)
    for judge, kind in (("4b", "qwen3_vl"), ("8b", "qwen3_vl"), ("30b", "qwen3_vl_moe")):
        assert json.loads((mirror / f"qwen3vl_{judge}/config.json").read_text())["model_type"] == kind
