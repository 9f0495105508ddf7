"""Extraction of tokens against a plain loop of the transformers model: `python benchmarks/extraction.py [--tiny]`.

A randomly initialised so400m (speed does not depend on weights) runs over 512-pixel PNG files with masks: through the
whole path (decode, mask, preprocess, model, shard on disk), and as a plain loop with the same batches whose tokens go
nowhere. Without a GPU only `--tiny` runs, which measures nothing that counts and shows that the script works.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import describe_machine
from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

from nearid.config.settings.tokens import BackboneSettings
from nearid.io.images import encode_png
from nearid.tokens import load_backbone
from nearid.tokens.collections import Picture
from nearid.tokens.extraction import extract

SO400M = dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16, image_size=384)
TINY = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=56)
# TFLOP of a forward pass of an image (docs/performance.md 3), and dense half-precision peaks.
TFLOP = 0.665
PEAKS = {"A100": 312, "H100": 989, "H200": 989}


def main() -> None:
    """Print images per second as JSON, and keep them where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a tiny model: only to see that it runs")
    parser.add_argument("--images", type=int, default=2048, help="each is extracted whole and as foreground")
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", help="of the backbone, as in the config (a GPU's default: float16)")
    parser.add_argument("--compile", action="store_true", help="compile the whole path's model, not the plain loop's")
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    if not (torch.cuda.is_available() or arguments.tiny):
        print("no GPU: nothing to measure (--tiny shows that it runs)", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        asked = {name: getattr(arguments, name) for name in ("batch_size", "precision", "compile")}
        found = measure(Path(folder), arguments.tiny, arguments.images, arguments.workers, **asked)
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text + "\n")


def measure(
    folder: Path, tiny: bool, images: int, workers: int, batch_size: int, precision: str | None, compile: bool
) -> dict[str, Any]:
    """Images per second of both, the first's memory, and its share of the peak."""
    config = SiglipVisionConfig(**(TINY if tiny else SO400M), patch_size=14)
    SiglipVisionModel(config).half().save_pretrained(folder / "model")
    size = {"height": config.image_size, "width": config.image_size}
    SiglipImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder / "model")
    precision = precision or ("float16" if torch.cuda.is_available() else "float32")
    settings = {"kind": "siglip", "path": str(folder / "model"), "revision": "", "precision": precision}
    settings |= {"batch_size": batch_size, "compile": compile}
    backbone: Any = load_backbone(BackboneSettings.parse(settings))
    pictures = draw_pictures(images)

    # The first pass warms up: kernels are chosen, pinned memory is taken.
    extract(backbone, "random", pictures[:batch_size], [], folder / "warm.h5", workers)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    extract(backbone, "random", pictures, [], folder / "000.h5", workers)
    path = 2 * images / (time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0

    pixels = backbone.preprocess([picture.pixels("full") for picture in pictures[:batch_size]])
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(2 * images // batch_size):
            backbone.model(backbone.on_device(pixels)).last_hidden_state.cpu()
    loop = 2 * images // batch_size * batch_size / (time.perf_counter() - start)

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    peak = next((peak for name, peak in PEAKS.items() if name in device), None)
    return {
        "model": "tiny" if tiny else "so400m/14/384, random",
        "device": device,
        "attention": backbone.config._attn_implementation,
        "precision": precision,
        "compiled": compile,
        "workers": workers,
        "batch_size": batch_size,
        "images_per_s": round(path, 1),
        "plain_loop_images_per_s": round(loop, 1),
        "of_plain_loop": round(path / loop, 3),
        "share_of_peak": None if tiny or peak is None else round(path * TFLOP / peak, 3),
        "gpu_memory_gb": round(memory / 1e9, 2),
        "shard_gb": round((folder / "000.h5").stat().st_size / 1e9, 2),
        "machine": describe_machine("torch", "transformers"),
    }


def draw_pictures(count: int) -> list[Picture]:
    """Pictures of the released size, from a few different ones: smooth, as photographs are."""
    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(16):
        coarse = rng.integers(0, 256, (32, 32, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        image = np.clip(coarse + rng.normal(0, 4, coarse.shape), 0, 255).astype(np.uint8)
        mask = np.zeros((512, 512), bool)
        mask[100:400, 120:420] = True
        encoded.append((encode_png(image), encode_png(mask)))
    return [Picture(f"picture {id}", id, 0, *encoded[id % 16], split="train") for id in range(count)]


if __name__ == "__main__":
    main()
