"""The nine sources on their real pipeline classes, with tiny random weights read from folders."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from painters import engine_of, paint_shard
from pictures import PHOTOGRAPHS, curate, curation, draw, read_bytes, save_folder
from test_runner import pairs
from tiny_pipelines import save_all
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from nearid.data.positives import read_rows
from nearid.distractors import runner
from nearid.distractors.diffusion import DiffusionEngine, offload_parts, put_channels_last
from nearid.distractors.finishing import dilate
from nearid.distractors.protocol import PaintError, Target
from nearid.errors import UserError
from nearid.layout import Layout

SOURCES = ("flux", "flux_1024", "fluxc", "fluxc_1024", "qwen", "qwen_1328", "sdxl", "sdxl_1024", "powerpaint")
ENGINES = ("flux", "fluxc", "qwen", "sdxl", "powerpaint")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return save_all(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Positives: two identities with two views, one with three; another in train."""
    root = tmp_path_factory.mktemp("world")
    layout = Layout(root / "results")
    folder = save_folder(root / "in", {"a1": 2, "a2": 3, "b1": 2})
    curate(curation(folder, test="all"), layout)
    return layout


def painting(source: dict[str, Any], source_id: str, **options: Any) -> dict[str, Any]:
    """Settings of `inpaint_shard`."""
    dataset = {"kind": "image_folder", "options": PHOTOGRAPHS}
    source = {**source, "options": {**source["options"], **options}}
    return {"seed": 0, "source_id": source_id, "splits": ["test"], "dataset": dataset, "source": source}


def target(seed: int, text: str = "a striped disc") -> Target:
    image, mask = draw(seed)
    return Target(seed, 0, image, mask, dilate(mask, 2), "class", "test", text, "prompt")


@pytest.mark.parametrize("source_id", SOURCES)
def test_a_source_paints_a_shard_and_only_inside_the_hole(
    models: dict[str, Any], layout: Layout, source_id: str
) -> None:
    paint_shard(painting(models[source_id], source_id, batch_size=2), layout, "000")
    report = json.loads(layout.distractor_report(source_id, "000").read_text())
    assert (report["views"], report["painted"], report["retried"]) == (7, 7, [])
    hole = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    for view, mask, distractor in pairs(layout, source_id):
        assert distractor.shape == view.shape
        outside = cv2.dilate(mask.astype(np.uint8), hole, iterations=2) == 0
        np.testing.assert_array_equal(distractor[outside], view[outside])
        assert np.abs(distractor[mask].astype(int) - view[mask]).mean() > 2


@pytest.mark.parametrize("source_id", ENGINES)
def test_an_image_depends_on_its_seed_and_text_not_on_its_batch(models: dict[str, Any], source_id: str) -> None:
    source = models[source_id]
    texts = ["a striped disc", "a very small, very red and rather rusty old kettle"]
    views = [target(0, texts[0]), target(1, texts[1])]
    in_pairs, alone = engine_of(source, batch_size=2), engine_of(source)
    prompts = list(alone.encode(texts))
    torch.manual_seed(1)
    frames = in_pairs.paint_batch(views, [5, 6], prompts)
    torch.manual_seed(2)
    swapped = in_pairs.paint_batch(views[::-1], [6, 5], prompts[::-1])[::-1]
    padded = in_pairs.paint_batch(views[:1], [5], prompts[:1])
    single = [alone.paint_batch([views[at]], [5 + at], [prompts[at]])[0] for at in range(2)]
    for others in (swapped, padded, single):
        for frame, other in zip(frames, others, strict=False):
            # Rounding depends on the batch size: at most one of 256 levels.
            assert np.abs(frame - other).max() <= 1
    (again,), (other_seed,), (other_text,) = (
        alone.paint_batch(views[:1], [seed], [prompt])
        for seed, prompt in ((5, prompts[0]), (7, prompts[0]), (5, prompts[1]))
    )
    np.testing.assert_array_equal(again, single[0])
    assert np.abs(other_seed - single[0]).max() > 1
    assert np.abs(other_text - single[0]).max() > 0


class Killed(Exception):  # noqa: N818
    """Raised by a test in place of a kill."""


@pytest.mark.parametrize("source_id", ["flux", "powerpaint"])
def test_a_shard_killed_between_two_batches_goes_on(
    models: dict[str, Any], layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source_id: str
) -> None:
    """Prompts are not computed again, and the batches and bytes are the same.

    The frames of the last batch before the kill were not finished, so that batch is painted again.
    """
    monkeypatch.setattr(runner, "_PART_SECONDS", 0.0)
    settings = painting(models[source_id], "killed", batch_size=2)
    disturbed = copy_positives(layout, tmp_path)
    own, calls = DiffusionEngine.paint_batch, []

    def paint_batch(self: Any, targets: Any, seeds: Any, prompts: Any) -> Any:
        if len(calls) == 2 and "stop" not in calls:
            calls.append("stop")
            raise Killed
        calls.append([each.id for each in targets])
        return own(self, targets, seeds, prompts)

    monkeypatch.setattr(DiffusionEngine, "paint_batch", paint_batch)
    with pytest.raises(Killed):
        paint_shard(settings, disturbed, "000")
    with monkeypatch.context() as strict:
        strict.setattr(DiffusionEngine, "encode", lambda *_: pytest.fail("prompts were computed again"))
        paint_shard(settings, disturbed, "000")
    assert calls == [[0, 0], [1, 1], "stop", [1, 1], [1, 2], [2]]
    monkeypatch.undo()
    paint_shard(settings, layout, "000")
    wanted = {name: content for name, content in read_bytes(layout).items() if "/killed/" in name}
    assert {name: content for name, content in read_bytes(disturbed).items() if "distractors/" in name} == wanted


def copy_positives(layout: Layout, root: Path) -> Layout:
    copy = Layout(root)
    for path in (layout.positives("000"), layout.identities):
        place = copy.root / path.relative_to(layout.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    return copy


def test_only_what_fails_is_painted_again(models: dict[str, Any], layout: Layout, monkeypatch: Any) -> None:
    own, calls = DiffusionEngine.paint_batch, []

    def paint_batch(self: Any, targets: Any, seeds: Any, prompts: Any) -> Any:
        frames = own(self, targets, seeds, prompts)
        calls.append([(each.id, each.slot) for each in targets])
        if len(calls) == 1:
            frames[0] = frames[0] * np.nan
            frames[2] = PaintError("the safety checker refused the frame")
        return frames

    monkeypatch.setattr(DiffusionEngine, "paint_batch", paint_batch)
    paint_shard(painting(models["sdxl"], "retried", batch_size=4), layout, "000")
    # The second batch is painted while the frames of the first are being finished.
    assert calls == [[(0, 0), (0, 1), (1, 0), (1, 1)], [(1, 2), (2, 0), (2, 1)], [(0, 0), (1, 0)]]
    report = json.loads(layout.distractor_report("retried", "000").read_text())
    assert [(each["id"], each["slot"]) for each in report["retried"]] == [(0, 0), (1, 0)]
    assert "NaN" in report["retried"][0]["reasons"][0] and "safety" in report["retried"][1]["reasons"][0]
    seeds = {row[f"seed{slot}"] for row in read_rows(layout.distractors("retried", "000")) for slot in (1, 2, 3)}
    assert len(seeds - {None}) == 7


def test_the_encoders_are_gone_before_the_first_image(models: dict[str, Any]) -> None:
    engine = engine_of(models["flux"])
    (prompt,) = engine.encode(["a disc"])
    engine.paint_batch([target(0)], [1], [prompt])
    assert engine._painter.text_encoder is None and engine._painter.text_encoder_2 is None


@torch.inference_mode()
@pytest.mark.parametrize("words", ["text, watermark, low resolution", ""])
def test_sdxl_is_told_the_negative_prompt_of_the_config(models: dict[str, Any], words: str) -> None:
    """Against both text encoders, called by hand."""
    (prompt,) = engine_of(models["sdxl"], negative_prompt=words).encode(["a striped disc"])
    folder, read = models["sdxl"]["options"]["model"], []
    for kind, number in ((CLIPTextModel, ""), (CLIPTextModelWithProjection, "_2")):
        tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder=f"tokenizer{number}")
        encoder = kind.from_pretrained(folder, subfolder=f"text_encoder{number}", dtype=torch.float32)
        ids = tokenizer(words, padding="max_length", max_length=77, return_tensors="pt").input_ids
        read.append(encoder(ids, output_hidden_states=True))
    hidden = torch.cat([part.hidden_states[-2] for part in read], -1)
    torch.testing.assert_close(prompt["negative_prompt_embeds"], hidden[0])
    torch.testing.assert_close(prompt["negative_pooled_prompt_embeds"], read[1].text_embeds[0])
    assert not torch.allclose(prompt["prompt_embeds"], hidden[0])


@pytest.fixture
def pipe_of_qwen(models: dict[str, Any]) -> Iterator[Any]:
    yield engine_of(models["qwen"], scheduler="flow_match_euler").load(without=("text_encoder", "tokenizer"))


def test_lightning_weights_are_fused_and_its_schedule_is_set(models: dict[str, Any], pipe_of_qwen: Any) -> None:
    from safetensors.torch import load_file

    options = {key: value for key, value in models["qwen"]["options"].items() if not key.startswith("lora")}
    plain = engine_of({**models["qwen"], "options": options}).load(without=("text_encoder", "tokenizer"))
    lora = load_file(Path(models["qwen"]["options"]["lora"]) / "lightning.safetensors")
    key = "transformer_blocks.0.attn.to_q"
    change = pipe_of_qwen.transformer.get_parameter(f"{key}.weight") - plain.transformer.get_parameter(f"{key}.weight")
    torch.testing.assert_close(change, lora[f"{key}.lora_up.weight"] @ lora[f"{key}.lora_down.weight"])
    assert type(pipe_of_qwen.transformer.get_submodule(key)) is torch.nn.Linear
    schedule = pipe_of_qwen.scheduler.config
    assert (schedule.base_shift, schedule.max_shift, schedule.shift) == (np.log(3), np.log(3), 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"working_px": 500}, "a multiple of 16"),
        ({"options": {"model": "nowhere", "steps": 1}}, "no guidance"),
        (
            {"options": {"model": "x/y", "steps": 1, "guidance": 1.0, "blend": "feather"}},
            "source.options.blend",
        ),
        ({"options": {"model": "resources/nowhere", "steps": 1, "guidance": 1.0}}, "no such folder"),
    ],
)
def test_a_source_that_cannot_work_is_refused(
    models: dict[str, Any], layout: Layout, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message):
        paint_shard(painting({**models["flux"], **changes}, "refused"), layout, "000")


def frames_of(engine: Any) -> np.ndarray:
    """The frames that an engine paints for one view."""
    prompts = list(engine.encode(["a striped disc"]))
    (frame,) = engine.paint_batch([target(1)], [7], prompts)
    return np.asarray(frame)


def test_an_attention_back_end_by_name(models: dict[str, dict[str, Any]]) -> None:
    plain, native = (frames_of(engine_of(models["flux"], **options)) for options in ({}, {"attention": "native"}))
    assert np.abs(plain - native).max() <= 1
    with pytest.raises(UserError, match=r"(?s)attention.*'warp'.*must be one of"):
        frames_of(engine_of(models["flux"], attention="warp"))


@pytest.mark.parametrize("source_id", ENGINES)
def test_it_paints_in_the_precision_of_the_paper_s_config(models: dict[str, dict[str, Any]], source_id: str) -> None:
    options = {key: value for key, value in models[source_id]["options"].items() if key != "precision"}
    engine = engine_of({**models[source_id], "options": options})
    frame = frames_of(engine)
    assert engine.dtype == torch.bfloat16 and np.isfinite(frame).all() and frame.std() > 5


@pytest.mark.parametrize("source_id", ENGINES)
def test_laid_out_for_a_gpu_it_paints_the_same(models: dict[str, dict[str, Any]], source_id: str) -> None:
    plain, laid_out = engine_of(models[source_id]), engine_of(models[source_id])
    laid_out._painter = laid_out.load(without=laid_out.encoders)
    put_channels_last(laid_out._painter)
    assert np.abs(frames_of(plain) - frames_of(laid_out)).max() <= 1
    core = getattr(laid_out._painter, "unet", None) or laid_out._painter.vae
    strides = [weight.stride(1) for weight in core.parameters() if weight.dim() == 4 and weight.shape[2] > 1]
    assert (set(strides) == {1}) == (source_id != "qwen")


@pytest.mark.parametrize("source_id", ["flux", "qwen"])
def test_with_layers_that_wait_outside_the_gpu_it_paints_the_same(
    models: dict[str, dict[str, Any]], source_id: str
) -> None:
    plain, waiting = engine_of(models[source_id]), engine_of(models[source_id], offload="group")
    pipe = waiting.load(without=waiting.encoders)
    waiting._painter = offload_parts(pipe, "group", torch.device("cpu"))
    assert (frames_of(plain) == frames_of(waiting)).all()
    assert hasattr(pipe.transformer, "_diffusers_hook") or any(
        hasattr(layer, "_diffusers_hook") for layer in pipe.transformer.modules()
    )


@pytest.mark.slow
@pytest.mark.parametrize("source_id", ["flux", "sdxl"])
def test_compiled_it_paints_the_same(
    models: dict[str, dict[str, Any]], source_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiffusionEngine, "compiled_on", ("cpu",))
    plain, compiled = (frames_of(engine_of(models[source_id], compile=value)) for value in (False, True))
    assert np.abs(plain - compiled).mean() < 1
