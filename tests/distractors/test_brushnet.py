"""BrushNet by hooks: where it is attached to the UNet, and how released weights are read (docs/generators.md 3)."""

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from painters import engine_of
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from nearid.distractors.brushnet import BrushNet, brushed, load_brushnet
from nearid.distractors.diffusion import InpaintingBatch
from nearid.distractors.engines.powerpaint import _condition
from nearid.distractors.task_tokens import TaskEncoder
from nearid.errors import UserError
from nearid.rehearsal.pipelines import SD15_UNET, save_powerpaint, task_weights

WEIGHTS = "PowerPaint_Brushnet/diffusion_pytorch_model.safetensors"
BASE = "realisticVisionV60B1_v51VAE"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("powerpaint")
    save_powerpaint(folder)
    return folder


@pytest.fixture(scope="module")
def unet(released: Path) -> Any:
    return diffusers.UNet2DConditionModel.from_pretrained(released / BASE, subfolder="unet").eval()


def inputs(size: int = 9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents of an odd size, condition, timestep and text embeddings; with guidance, so one image twice."""
    draw = torch.Generator().manual_seed(0)
    latents, condition = (torch.randn(n, c, size, size, generator=draw) for n, c in ((2, 4), (1, 5)))
    return latents, condition, torch.tensor(500), torch.randn(2, 77, 32, generator=draw)


@torch.inference_mode()
def test_at_zero_it_is_plain_stable_diffusion(unet: Any) -> None:
    latents, condition, timestep, states = inputs()
    plain = unet(latents, timestep, encoder_hidden_states=states).sample
    with brushed(unet, BrushNet(unet.config).eval(), condition, states, 1.0):
        helped = unet(latents, timestep, encoder_hidden_states=states).sample
    assert torch.equal(plain, helped)


@torch.inference_mode()
def test_with_weights_it_changes_the_prediction_and_leaves_no_hook_behind(released: Path, unet: Any) -> None:
    latents, condition, timestep, states = inputs()
    net = load_brushnet(released / WEIGHTS, unet.config)
    plain = unet(latents, timestep, encoder_hidden_states=states).sample
    with pytest.raises(KeyboardInterrupt), brushed(unet, net, condition, states, 1.0):
        helped = unet(latents, timestep, encoder_hidden_states=states).sample
        raise KeyboardInterrupt
    with brushed(unet, net, condition, states, 0.0):
        silent = unet(latents, timestep, encoder_hidden_states=states).sample
    assert not torch.allclose(plain, helped)
    assert torch.equal(plain, silent)
    assert torch.equal(plain, unet(latents, timestep, encoder_hidden_states=states).sample)


@torch.inference_mode()
def test_residuals_are_added_where_the_reference_adds_them(released: Path, unet: Any) -> None:
    """Against a UNet written by hand: on the first block's input and after each layer, never on the first skip."""
    latents, condition, timestep, states = inputs(8)
    net = load_brushnet(released / WEIGHTS, unet.config)
    residuals = net(latents, condition.repeat(2, 1, 1, 1), timestep, states)
    with brushed(unet, net, condition, states, 0.5):
        helped = unet(latents, timestep, encoder_hidden_states=states).sample
    left = iter([0.5 * each for each in residuals])
    emb = unet.time_embedding(unet.time_proj(timestep.expand(2)))
    sample = unet.conv_in(latents)
    skips = [sample]
    sample = sample + next(left)

    def layers(block: Any) -> list[tuple[Any, Any]]:
        return list(zip(block.resnets, getattr(block, "attentions", None) or [None] * 9, strict=False))

    def attend(attention: Any, value: torch.Tensor) -> torch.Tensor:
        return value if attention is None else attention(value, encoder_hidden_states=states).sample

    for block in unet.down_blocks:
        for resnet, attention in layers(block):
            sample = attend(attention, resnet(sample, emb)) + next(left)
            skips.append(sample)
        for sampler in block.downsamplers or []:
            sample = sampler(sample) + next(left)
            skips.append(sample)
    sample = unet.mid_block(sample, emb, encoder_hidden_states=states) + next(left)
    for block in unet.up_blocks:
        for resnet, attention in layers(block):
            sample = attend(attention, resnet(torch.cat([sample, skips.pop()], dim=1), emb)) + next(left)
        for sampler in block.upsamplers or []:
            sample = sampler(sample) + next(left)
    sample = unet.conv_out(unet.conv_act(unet.conv_norm_out(sample)))
    torch.testing.assert_close(helped, sample, rtol=1e-4, atol=1e-5)
    assert not list(left) and not skips


def test_the_real_size_has_the_released_keys_and_sites() -> None:
    config = dict(sample_size=64, cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280))
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**config)
        net = BrushNet(unet.config)
    names = net.released_keys()
    assert len(names) == 738
    assert sum(tensor.numel() for tensor in net.state_dict().values()) == pytest.approx(886.1e6, rel=1e-4)
    shapes = {name: tuple(net.state_dict()[key].shape) for name, key in names.items()}
    downs = [shapes[f"brushnet_down_blocks.{place}.weight"][0] for place in range(12)]
    ups = [shapes[f"brushnet_up_blocks.{place}.weight"][0] for place in range(15)]
    assert downs == [320] * 4 + [640] * 3 + [1280] * 5 and shapes["brushnet_mid_block.weight"] == (1280, 1280, 1, 1)
    assert ups == [1280] * 8 + [640] * 4 + [320] * 3
    assert shapes["conv_in_condition.weight"] == (320, 9, 3, 3)
    rooms = {"conv_in_condition", "time_embedding", "down_blocks", "mid_block", "up_blocks"}
    assert {name.split(".")[0] for name in names} == rooms | {
        f"brushnet_{b}" for b in ("down_blocks", "mid_block", "up_blocks")
    }


def test_28_residuals_of_the_sites_shapes(unet: Any) -> None:
    latents, condition, timestep, states = inputs(8)
    shapes = [
        tuple(r.shape[1:]) for r in BrushNet(unet.config)(latents, condition.repeat(2, 1, 1, 1), timestep, states)
    ]
    down = [(8, 8, 8)] * 3 + [(8, 4, 4)] + [(16, 4, 4)] * 2 + [(16, 2, 2)] + [(24, 2, 2)] * 2 + [(24, 1, 1)] * 3
    up = [(24, 1, 1)] * 3 + [(24, 2, 2)] * 4 + [(24, 4, 4)] + [(16, 4, 4)] * 3 + [(16, 8, 8)] + [(8, 8, 8)] * 3
    assert shapes == [*down, (24, 1, 1), *up]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("brushnet_mid_block.weight"), "1 missing: brushnet_mid_block.weight"),
        (lambda weights: weights.update({"conv_out.weight": torch.zeros(1)}), "1 unknown: conv_out.weight"),
        (lambda weights: weights.update({"conv_in_condition.bias": torch.zeros(3)}), "shape: conv_in_condition.bias"),
    ],
)
def test_other_weights_are_refused_by_name(
    released: Path, unet: Any, tmp_path: Path, change: Any, message: str
) -> None:
    weights = load_file(released / WEIGHTS)
    change(weights)
    save_file(weights, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=message):
        load_brushnet(tmp_path / "weights.safetensors", unet.config)


@torch.inference_mode()
def test_task_words_are_read_with_their_own_vectors(released: Path) -> None:
    text = CLIPTextModel.from_pretrained(released / BASE, subfolder="text_encoder")
    path = released / "PowerPaint_Brushnet/pytorch_model.bin"
    weights = torch.load(path, weights_only=True)
    tokenizer = CLIPTokenizer.from_pretrained(released / BASE, subfolder="tokenizer")
    tasks = TaskEncoder(tokenizer, path, text.config)
    vectors = tasks.model.get_input_embeddings().weight
    learned = [
        weights[f"text_model.embeddings.token_embedding.trainable_embeddings.P_{w}"] for w in ("ctxt", "shape", "obj")
    ]
    torch.testing.assert_close(vectors[514:], torch.cat(learned))
    assert tokenizer.convert_tokens_to_ids(["P_ctxt_0", "P_shape_0", "P_obj_9"]) == [514, 524, 543]
    assert not torch.allclose(tasks.read("a mug", "object"), tasks.read("a mug", "shape"))
    assert torch.allclose(tasks.read("a mug", "object", 0.3), tasks.read("a mug", "object"), atol=1e-5)
    mixed = 0.3 * tasks.read("a mug", "shape", 1.0) + 0.7 * tasks.read("a mug", "context")
    torch.testing.assert_close(tasks.read("a mug", "shape", 0.3), mixed)


def powerpaint(released: Path, **options: Any) -> Any:
    options = {"model": str(released), "steps": 2, "guidance": 7.5, "precision": "float32"} | options
    source = {"engine": "powerpaint", "working_px": 64, "dilate_px": 0, "paste_back": True}
    return engine_of(source | {"feather_px": 0, "blur_sigma": 0.0, "options": options})


@torch.inference_mode()
@pytest.mark.parametrize(("options", "text"), [({}, ""), ({"words": "task"}, ""), ({"words": "prompt"}, "a mug")])
def test_brushnet_reads_the_task_word_alone_unless_told_the_prompt(released: Path, options: Any, text: str) -> None:
    """Against the words' vectors, passed by hand through a text encoder of transformers."""
    (prompt,) = powerpaint(released, **options).encode(["a mug"])
    base = CLIPTextModel.from_pretrained(released / BASE, subfolder="text_encoder")
    tokenizer = CLIPTokenizer.from_pretrained(released / BASE, subfolder="tokenizer")
    tasks = TaskEncoder(tokenizer, released / "PowerPaint_Brushnet/pytorch_model.bin", base.config)
    for name, said in (("task", f"{text} "), ("negative_task", "")):
        words = said + " ".join(f"P_obj_{number}" for number in range(10))
        ids = tokenizer(words, padding="max_length", max_length=77, return_tensors="pt").input_ids
        torch.testing.assert_close(prompt[name], tasks.model(ids)[0][0])
    assert not torch.allclose(prompt["plain"], prompt["task"])


def test_a_latent_cell_takes_the_corner_pixel_of_the_hole(released: Path) -> None:
    random = np.random.default_rng(0)
    hole = np.where(random.random((64, 64)) < 0.5, 255, 0).astype(np.uint8)
    view = Image.fromarray(random.integers(0, 255, (64, 64, 3), np.uint8))
    engine = powerpaint(released)
    pipe = engine.load(without=engine.encoders)
    batch = InpaintingBatch([view], [Image.fromarray(hole)], 64, 64, [], [])
    cell = pipe.vae_scale_factor
    for name, offset in (("corner", 0), ("centre", cell // 2)):
        with torch.inference_mode():
            background = _condition(pipe, batch, name)[0, 4].numpy()
        assert np.array_equal(background, hole[offset::cell, offset::cell] == 0), name


def test_the_safety_checker_may_be_left_out(released: Path, tmp_path: Path) -> None:
    for options, there in (({}, True), ({"safety_checker": False}, False)):
        engine = powerpaint(released, **options)
        asked: dict[str, Any] = {}
        engine.open = lambda model, into=asked, **components: into.update(components)
        with pytest.raises(AttributeError):
            engine.load(without=engine.encoders)
        assert ("safety_checker" not in asked) == there


def test_a_text_encoder_without_task_words_is_refused(released: Path, tmp_path: Path) -> None:
    text = CLIPTextModel.from_pretrained(released / BASE, subfolder="text_encoder")
    tokenizer = CLIPTokenizer.from_pretrained(released / BASE, subfolder="tokenizer")
    weights = task_weights(text)
    del weights["text_model.embeddings.token_embedding.trainable_embeddings.P_obj"]
    torch.save(weights, tmp_path / "weights.bin")
    with pytest.raises(UserError, match="P_obj"):
        TaskEncoder(tokenizer, tmp_path / "weights.bin", text.config)
    assert SD15_UNET["cross_attention_dim"] == text.config.hidden_size
