"""Stand-in of Mind-the-Glitch's matcher: its weights, and a checkout whose answers have the real one's keys."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

WIDTH = 32
"""Width of the text encoder in the stand-in of Stable Diffusion (`nearid.rehearsal.pipelines`, slow to import)."""
CHECKOUT = Path(__file__).with_name("mind_the_glitch")


def save_matcher(folder: Path) -> None:
    """Write weights, and the config that says which model they belong to."""
    folder.mkdir(parents=True)
    save_file({"scale": torch.tensor(1.5)}, folder / "mtg_weights.safetensors")
    (folder / "experiment_cfg.yaml").write_text("dtype: float32\nmodel: {name: StandInModel}\n")


def save_features(folder: Path) -> None:
    """Write CleanDIFT's weights, which extend Stable Diffusion."""
    folder.mkdir(parents=True)
    save_file({"features": torch.zeros(WIDTH)}, folder / "cleandift_sd21_full.safetensors")


def save_checkout(folder: Path) -> None:
    """Write the modules that the scorer imports."""
    shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "__init__.py").unlink()
