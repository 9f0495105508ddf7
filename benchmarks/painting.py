"""Painting against plain calls of diffusers' pipelines: `python benchmarks/painting.py [--tiny] [--output FILE]`.

All nine sources in their real sizes with random weights (speed does not depend on weights) and random
prompt embeddings, with the paper's steps: seconds per image and peak memory for batch sizes that fit, through the shard
runner's path (pipeline, Lanczos, paste-back, PNG by threads) and as a bare call of the untouched pipeline in the same
process. Write the result into `sources.<id>.seconds_per_image`: it sizes the jobs. Without a GPU only `--tiny` runs,
which measures nothing that counts and shows that the script works.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image
from timing import describe_machine

from nearid.config import load, step_settings
from nearid.config.settings.distractors import InpaintShard, Source
from nearid.distractors.brushnet import BrushNet
from nearid.distractors.diffusion import DiffusionEngine
from nearid.distractors.engines import open_engine
from nearid.distractors.pool import Pool
from nearid.distractors.protocol import Prompt, Target
from nearid.distractors.runner import PAINTED, paint_batches
from nearid.layout import Layout

SOURCES = (*("flux", "flux_1024", "fluxc", "fluxc_1024", "qwen", "qwen_1328", "sdxl", "sdxl_1024", "powerpaint"),)
BATCH_SIZES = (1, 2, 4, 8, 16)
_VAE = dict(
    down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    block_out_channels=[128, 256, 512, 512], layers_per_block=2,
)  # fmt: skip
_TINY_VAE = _VAE | dict(block_out_channels=[4] * 4, layers_per_block=1, norm_num_groups=1)
_FLUX_VAE = dict(
    latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=0.3611, shift_factor=0.1159
)
_SDXL_VAE = dict(latent_channels=4, scaling_factor=0.13025)
_FLUX = dict(
    in_channels=384, out_channels=64, num_layers=19, num_single_layers=38, attention_head_dim=128,
    num_attention_heads=24, joint_attention_dim=4096, pooled_projection_dim=768, guidance_embeds=True,
)  # fmt: skip
_TINY_FLUX = _FLUX | dict(
    num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
    pooled_projection_dim=32, axes_dims_rope=[4, 4, 8],
)  # fmt: skip
_QWEN = dict(
    patch_size=2, in_channels=64, out_channels=16, attention_head_dim=128, num_attention_heads=24,
    joint_attention_dim=3584, axes_dims_rope=(16, 56, 56),
)  # fmt: skip
_TINY_QWEN = _QWEN | dict(
    attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=(4, 6, 6)
)
_SD15 = dict(
    in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=(320, 640, 1280, 1280),
    cross_attention_dim=768, attention_head_dim=8,
)  # fmt: skip
_TINY_SD15 = _SD15 | dict(
    block_out_channels=(8, 16, 24, 24), cross_attention_dim=32, attention_head_dim=4, norm_num_groups=4
)
_BETAS = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1)
_SDXL = dict(
    in_channels=9, out_channels=4, block_out_channels=(320, 640, 1280), layers_per_block=2,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=(1, 2, 10),
    attention_head_dim=(5, 10, 20), use_linear_projection=True, addition_embed_type="text_time",
    addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816, cross_attention_dim=2048,
)  # fmt: skip
_TINY_SDXL = _SDXL | dict(
    block_out_channels=(32, 64, 64), layers_per_block=1, transformer_layers_per_block=1, attention_head_dim=(2, 4, 4),
    norm_num_groups=8, addition_time_embed_dim=8, projection_class_embeddings_input_dim=80, cross_attention_dim=64,
)  # fmt: skip


def main() -> None:
    """Print seconds per image and gigabytes as JSON, and keep them where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="tiny models and images: only to see that it runs")
    parser.add_argument("--sources", nargs="+", default=SOURCES, choices=SOURCES)
    parser.add_argument("--batches", type=int, default=3, help="timed batches of each size")
    parser.add_argument("--steps", type=int, help="instead of the paper's")
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    if not (torch.cuda.is_available() or arguments.tiny):
        print("no GPU: nothing to measure (--tiny shows that it runs)", file=sys.stderr)
        return
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"}
    found |= {"models": "tiny" if arguments.tiny else "real sizes, random weights"}
    found |= {name: measure(name, arguments.tiny, arguments.batches, arguments.steps) for name in arguments.sources}
    found["machine"] = describe_machine("torch", "diffusers")
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text + "\n")


def measure(
    name: str, tiny: bool, batches: int, steps: int | None, sizes: Sequence[int] = BATCH_SIZES
) -> dict[str, Any]:
    """Both ways for each batch size, until one does not fit."""
    settings = step_settings("inpaint_shard", load(), source=name)
    source = settings["source"]
    options = source["options"] | {"steps": steps or (2 if tiny else source["options"]["steps"])}
    if tiny:
        source["working_px"], options["precision"] = 64, "float32"
    found: dict[str, Any] = {"working_px": source["working_px"], "steps": options["steps"], "batch_sizes": {}}
    for size in sizes[:2] if tiny else sizes:
        source["options"] = options | {"batch_size": size}
        parsed = InpaintShard.parse(settings)
        engine = open_engine(parsed.source, parsed.dataset, parsed.seed, Pool(Layout(Path("nowhere"))))
        assert isinstance(engine, DiffusionEngine)
        try:
            found["batch_sizes"][size] = compare(engine, parsed.source, tiny, batches)
        except torch.OutOfMemoryError:
            found["batch_sizes"][size] = "does not fit"
            break
        finally:
            del engine
            gc.collect()
            torch.cuda.empty_cache()
    return found


def compare(engine: DiffusionEngine, source: Source[Any], tiny: bool, batches: int) -> dict[str, Any]:
    """Seconds per image and peak memory: the bare call first, since the engine then tunes the pipeline in place."""
    pipe, prompt = make_pipeline(engine, tiny)
    size, pixels = engine.batch_size, 64 if tiny else 512
    views = [[draw_target(number * size + at, pixels) for at in range(size)] for number in range(batches + 1)]

    def bare(targets: list[Target]) -> None:
        engine.call(pipe, make_batch(engine, targets, prompt))

    engine.load = lambda without: pipe  # type: ignore[method-assign]
    prompts = defaultdict(lambda: prompt)
    with torch.inference_mode():
        bare_s, bare_gb = clock(lambda batch: [bare(each) for each in batch], views)
        flags: list[str] = []

        def paint(batch: list[list[Target]]) -> None:
            for outcomes in paint_batches(engine, prompts, batch, source, "benchmark", 0):
                flags.extend(outcome.flag if not outcome.retries else "again" for outcome in outcomes)

        ours_s, ours_gb = clock(paint, views)
    count = size * batches
    return {
        "seconds_per_image": round(ours_s / count, 4),
        "bare_seconds_per_image": round(bare_s / count, 4),
        "times_bare": round(ours_s / bare_s, 3),
        "peak_gb": ours_gb,
        "bare_peak_gb": bare_gb,
        # Random weights may paint black or NaN, and such views are painted again: then the ratio says nothing.
        "painted_at_once": flags.count(PAINTED) == len(flags),
    }


def clock(paint: Callable[[list[list[Target]]], object], views: list[list[Target]]) -> tuple[float, float]:
    """Seconds for all but the first batch, which warms up, and the peak of the GPU's memory in GB."""
    paint(views[:1])
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    paint(views[1:])
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    took = time.perf_counter() - start
    return took, round(torch.cuda.max_memory_allocated() / 1e9, 2) if torch.cuda.is_available() else 0.0


def make_pipeline(engine: DiffusionEngine, tiny: bool) -> tuple[Any, Prompt]:
    """A pipeline without text encoders, and embeddings as they would give them."""
    torch.manual_seed(0)
    parts = {"Flux": _flux, "Qwen": _qwen, "StableDiffusionXL": _sdxl, "StableDiffusion": _powerpaint}
    make = next(make for name, make in parts.items() if engine.pipeline.startswith(name))
    before = torch.get_default_dtype()
    torch.set_default_dtype(engine.dtype)
    try:
        with torch.device(engine.device):
            components, prompt = make(engine, tiny)
    finally:
        torch.set_default_dtype(before)
    brushnet = components.pop("brushnet", None)
    pipe = getattr(diffusers, engine.pipeline)(**components, **dict.fromkeys(engine.encoders))
    pipe.set_progress_bar_config(disable=True)
    if brushnet is not None:
        pipe.brushnet = brushnet.eval()
    return pipe, {name: tensor.cpu() for name, tensor in prompt.items()}


def _flux(engine: DiffusionEngine, tiny: bool) -> tuple[dict[str, Any], Prompt]:
    # Canny's edges enter beside the latents, Fill's view and mask do.
    shape = (_TINY_FLUX if tiny else _FLUX) | ({"in_channels": 128} if "Control" in engine.pipeline else {})
    wide, pooled = shape["joint_attention_dim"], shape["pooled_projection_dim"]
    return {
        "vae": diffusers.AutoencoderKL(**(_TINY_VAE if tiny else _VAE), **_FLUX_VAE),
        "transformer": diffusers.FluxTransformer2DModel(**shape),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    }, {"tokens": torch.randn(512, wide), "pooled": torch.randn(pooled)}


def _qwen(engine: DiffusionEngine, tiny: bool) -> tuple[dict[str, Any], Prompt]:
    shape, small = _TINY_QWEN if tiny else _QWEN, dict(base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    return {
        "vae": diffusers.AutoencoderKLQwenImage(**(small if tiny else {})),
        "transformer": diffusers.QwenImageTransformer2DModel(**shape, num_layers=2 if tiny else 60),
        "controlnet": diffusers.QwenImageControlNetModel(
            **shape, num_layers=1 if tiny else 6, extra_condition_channels=4
        ),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(**engine.schedule),
    }, {"tokens": torch.randn(60, shape["joint_attention_dim"])}


def _sdxl(engine: DiffusionEngine, tiny: bool) -> tuple[dict[str, Any], Prompt]:
    shape = _TINY_SDXL if tiny else _SDXL
    wide = shape["cross_attention_dim"]
    pooled = shape["projection_class_embeddings_input_dim"] - 6 * shape["addition_time_embed_dim"]
    names = ("prompt_embeds", "negative_prompt_embeds")
    prompt = {name: torch.randn(77, wide) for name in names}
    return {
        "vae": diffusers.AutoencoderKL(**(_TINY_VAE if tiny else _VAE), **_SDXL_VAE),
        "unet": diffusers.UNet2DConditionModel(**shape),
        "scheduler": diffusers.EulerDiscreteScheduler(**_BETAS),
    }, prompt | {name.replace("prompt", "pooled_prompt"): torch.randn(pooled) for name in names}


def _powerpaint(engine: DiffusionEngine, tiny: bool) -> tuple[dict[str, Any], Prompt]:
    unet = diffusers.UNet2DConditionModel(**(_TINY_SD15 if tiny else _SD15))
    names = ("plain", "negative", "task", "negative_task")
    return {
        "vae": diffusers.AutoencoderKL(**(_TINY_VAE if tiny else _VAE), latent_channels=4, scaling_factor=0.18215),
        "unet": unet,
        "brushnet": BrushNet(unet.config),
        "scheduler": diffusers.UniPCMultistepScheduler(**_BETAS),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }, {name: torch.randn(77, unet.config.cross_attention_dim) for name in names}


def make_batch(engine: DiffusionEngine, targets: list[Target], prompt: Prompt) -> Any:
    """What the engine would give the pipeline for these targets."""
    from nearid.distractors.diffusion import InpaintingBatch

    side = engine._working_px
    images = [Image.fromarray(target.image).resize((side, side)) for target in targets]
    holes = [Image.fromarray(target.mask).resize((side, side)) for target in targets]
    generators = [torch.Generator("cpu").manual_seed(target.id) for target in targets]
    return InpaintingBatch(images, holes, side, side, generators, [prompt] * len(targets))


def draw_target(number: int, side: int) -> Target:
    """A smooth view with a hole in its middle."""
    rng = np.random.default_rng(number)
    cell = side // 16
    image = rng.integers(0, 256, (16, 16, 3), np.uint8).repeat(cell, 0).repeat(cell, 1)
    mask = np.zeros((side, side), bool)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = True
    return Target(number, 0, image, mask, mask, "thing", "test", "a thing", "a thing somewhere")


if __name__ == "__main__":
    main()
