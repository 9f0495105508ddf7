"""What a model folder's config asks for is held against its weights before it is built: a few bytes ask for much."""

import importlib
import json
import resource

import pytest
import torch
from safetensors.torch import load_file, save_file

from nearid.config.schema.dataset import ImageFolder
from nearid.config.settings.scores import LocalJudge
from nearid.errors import UserError

SIZES = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
SIZES |= {"image_size": 8, "patch_size": 4}
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
HUGE = [
    {"hidden_size": 10**7},
    {"hidden_size": 65536, "intermediate_size": 65536},
    {"num_hidden_layers": 10**9},
    {"num_hidden_layers": 9999, "hidden_size": 4096},
    {"image_size": 10**7},
    {"patch_size": 10**400},
]
BROKEN = [
    DEEP,
    "[" * 100_000,
    "[]",
    "null",
    "{",
    b"\xff\xfe",
    {"hidden_size": "x"},
    {"model_type": [1]},
    {"num_attention_heads": 0},
]
NOT_ITS_OWN = [{"hidden_size": 16}, {"num_hidden_layers": 2}]
each = pytest.mark.parametrize("content", [*HUGE, *BROKEN, *NOT_ITS_OWN], ids=lambda content: repr(content)[:40])


@pytest.fixture(autouse=True)
def little_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000, "KiB were taken"


@pytest.fixture
def folder(tmp_path):
    """A whole SigLIP of a few KB."""
    from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

    SiglipVisionModel(SiglipVisionConfig(**SIZES)).save_pretrained(tmp_path)
    SiglipImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(tmp_path)
    return tmp_path


def change(path, content):
    if isinstance(content, dict):
        content = json.dumps(json.loads(path.read_text()) | content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def refused(opens):
    with pytest.raises(UserError) as error:
        opens()
    assert all(str(part).strip() for part in error.value.args)


def backbone(folder, kind="siglip"):
    from nearid.config.settings.tokens import BackboneSettings
    from nearid.tokens import load_backbone

    settings = BackboneSettings(kind=kind, path=str(folder), revision="", precision="float32", batch_size=1)
    return load_backbone(settings)


@each
@pytest.mark.parametrize("kind", ["siglip", "auto"])
def test_backbones(folder, kind, content):
    backbone(folder, kind)
    change(folder / "config.json", content)
    refused(lambda: backbone(folder, kind))


@each
@pytest.mark.parametrize("kind", ["siglip_vision_model", "nearid"])
def test_models_of_the_library(folder, kind, content):
    import nearid

    change(folder / "config.json", {"model_type": kind})
    nearid.load(folder)
    change(folder / "config.json", content)
    refused(lambda: nearid.load(folder))


@each
def test_heads(folder, content):
    from nearid.heads.released import read_vision_state
    from nearid.scores.scorers.head import load_head

    save_file(read_vision_state(folder / "model.safetensors", "head."), folder / "head.safetensors")
    load_head(folder)
    change(folder / "config.json", content)
    if content not in (
        {"num_hidden_layers": 2},
        {"image_size": 10**7},
        {"model_type": [1]},
    ):  # which a head has none of
        refused(lambda: load_head(folder))


def test_a_head_that_names_no_backbone(folder):
    import nearid

    save_file({"probe": torch.zeros(1)}, folder / "head.safetensors")
    refused(lambda: nearid.load(folder))


@pytest.mark.parametrize(
    ("kind", "text"), [("qwen3_vl", {"vocab_size": 10**7}), ("qwen3_vl_moe", {"num_experts": 9999})]
)
def test_judges(tmp_path, kind, text):
    from nearid.scores.judging.local import Judge

    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "text_config": text}))
    save_file({"lm_head.weight": torch.zeros(4)}, tmp_path / "model.safetensors")
    judge = Judge(LocalJudge(kind="vlm_judge", model=str(tmp_path), max_new_tokens=1))
    refused(lambda: judge._parts)


def test_masks(tmp_path):
    from transformers import SamImageProcessor, SamProcessor

    from nearid.data.masks.mask_generation import Estimator

    SamProcessor(SamImageProcessor()).save_pretrained(tmp_path)
    save_file({"a": torch.zeros(4)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam", "vision_config": {"hidden_size": 60_000}}))
    refused(lambda: Estimator(ImageFolder(mask_model=str(tmp_path))))
    # Nearly none of the weights of a small one, which transformers would draw.
    small = {"hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1, "output_channels": 8, "mlp_dim": 8}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam", "vision_config": small}))
    refused(lambda: Estimator(ImageFolder(mask_model=str(tmp_path))))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("unet/config.json", {"block_out_channels": [32, 10**6]}),
        ("unet/config.json", {"block_out_channels": [32, 10**5]}),
        ("unet/config.json", {"layers_per_block": 10**6}),
        ("unet/config.json", {"layers_per_block": 2}),
        ("unet/config.json", DEEP),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**12}),
        ("scheduler/scheduler_config.json", "[]"),
        ("model_index.json", DEEP),
        ("model_index.json", "[]"),
    ],
    ids=lambda content: repr(content)[:40],
)
def test_pipelines(tmp_path, file, content):
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    from nearid.distractors.diffusion import load

    sizes = {"block_out_channels": (32, 32), "layers_per_block": 1, "sample_size": 8}
    net = UNet2DModel(**sizes, down_block_types=["DownBlock2D"] * 2, up_block_types=["UpBlock2D"] * 2)
    DDPMPipeline(net, DDPMScheduler()).save_pretrained(tmp_path)
    load(DDPMPipeline, str(tmp_path), None)
    change(tmp_path / file, content)
    refused(lambda: load(DDPMPipeline, str(tmp_path), None))


def test_weights_that_are_missing(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in sorted(weights) if "layers.0" in name))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    refused(lambda: backbone(folder))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {name: "model-00001-of-00002.safetensors" for name in weights} | {
        "more": "model-00002-of-00002.safetensors"
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    refused(lambda: backbone(folder))


PACKINGS = {
    "gptq, in one whole number for eight": ({"quant_method": "gptq", "bits": 4}, torch.int32, 8),
    "compressed-tensors": (
        {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}},
        torch.int32,
        8,
    ),
    "bitsandbytes, two in a byte": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, torch.uint8, 2),
    "eight bits": ({"quant_method": "gptq", "bits": 8}, torch.int32, 4),
}


@pytest.mark.parametrize("said, kind, packed", PACKINGS.values(), ids=PACKINGS)
def test_weights_that_lie_packed_in_few_bits(tmp_path, monkeypatch, said, kind, packed):
    """What a quantised folder may build follows from the bits that its config declares, and from its files' bytes."""
    from nearid.io import model_folders

    monkeypatch.setattr(model_folders, "_SPARE", 0)
    save_file({"weight": torch.zeros(1000, dtype=kind)}, tmp_path / "model.safetensors")

    def build(numbers):
        with model_folders.built_within(tmp_path):
            torch.nn.Linear(1, numbers, bias=False, device="meta")

    (tmp_path / "config.json").write_text("{}")
    build(2000)
    refused(lambda: build(2001))
    # Where the weights stand does not matter, nor whether the whole model or its text part says so.
    for config in ({"quantization_config": said}, {"text_config": {"quantization_config": said}}):
        (tmp_path / "config.json").write_text(json.dumps(config))
        build(2 * packed * 1000)
        refused(lambda: build(2 * packed * 1000 + 1))


@pytest.mark.parametrize("bits", [-8, 0, 1, 10**6, "4", None])
def test_a_config_cannot_declare_weights_smaller_than_four_bits(tmp_path, monkeypatch, bits):
    from nearid.io import model_folders

    monkeypatch.setattr(model_folders, "_SPARE", 0)
    save_file({"weight": torch.zeros(1000, dtype=torch.uint8)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"bits": bits}}))
    with model_folders.built_within(tmp_path):
        torch.nn.Linear(1, 4000, bias=False, device="meta")

    def build():
        with model_folders.built_within(tmp_path):
            torch.nn.Linear(1, 4001, bias=False, device="meta")

    refused(build)


def test_a_quantised_judge_whose_package_is_missing_is_told(tmp_path, monkeypatch):
    from nearid.scores.judging import local

    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3_vl"}))
    save_file({"lm_head.weight": torch.zeros(4)}, tmp_path / "model.safetensors")
    monkeypatch.setattr(local, "load_whole", lambda *_, **__: importlib.import_module("no_such_quantiser"))
    with pytest.raises(UserError, match="no_such_quantiser"):
        local.Judge(LocalJudge(kind="vlm_judge", model=str(tmp_path), max_new_tokens=1))._parts  # noqa: B018
