"""Stand-in."""

from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file

CONFIG = Path(__file__).parents[2] / "external/sd21_feature_extractor.yaml"


def cleandift_loader(device: Any) -> str:
    """A value in place of a feature extractor; the real one is built from the same requests to the hub as here."""
    repository = yaml.safe_load(CONFIG.read_text())["model"]["repository"]
    pipe = DiffusionPipeline.from_pretrained(repository, torch_dtype=torch.bfloat16, use_safetensors=True)
    weights = load_file(hf_hub_download(repo_id="CompVis/cleandift", filename="cleandift_sd21_full.safetensors"))
    assert pipe.unet.config.cross_attention_dim == weights["features"].shape[0]
    return "features"
