"""Stand-ins of image encoders: transformers' own classes with tiny random weights and a processor of their kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from nearid.io.files import read_json, write_json

_WIDTH: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip
_VISION: dict[str, Any] = {**_WIDTH, "image_size": 28, "patch_size": 7}
_TEXT: dict[str, Any] = {**_WIDTH, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_SQUARE: dict[str, Any] = {"size": {"height": 28, "width": 28}}
_CROP: dict[str, Any] = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}}


def save_siglip(folder: Path) -> None:
    """SigLIP2: both towers, and a processor that resizes images to a square."""
    torch.manual_seed(11)
    model = SiglipModel(SiglipConfig(text_config=_TEXT, vision_config=_VISION))
    _save(model, SiglipImageProcessorPil(**_SQUARE, image_mean=[0.5] * 3, image_std=[0.5] * 3), folder)


def save_clip(folder: Path) -> None:
    """CLIP: both towers and their projections."""
    torch.manual_seed(12)
    vision = {**_VISION, "projection_dim": 24}
    model = CLIPModel(CLIPConfig(text_config=_TEXT, vision_config=vision, projection_dim=24))
    _save(model, CLIPImageProcessorPil(**_CROP), folder)


def save_dinov2(folder: Path) -> None:
    """DINOv2."""
    torch.manual_seed(13)
    _save(Dinov2Model(Dinov2Config(**_VISION)), BitImageProcessorPil(**_CROP), folder)


def save_vit(folder: Path) -> None:
    """A vision transformer, for a backbone of kind `auto`."""
    torch.manual_seed(14)
    _save(ViTModel(ViTConfig(**_VISION)), ViTImageProcessorPil(**_SQUARE), folder)


def save_released_head(folder: Path) -> None:
    """The authors' model: a SigLIP2 with its trained head, named as in their class, and code that must not be run."""
    torch.manual_seed(15)
    model = SiglipVisionModel(SiglipVisionConfig(**_VISION))
    processor = SiglipImageProcessorPil(**_SQUARE, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    _save(model, processor, folder)
    weights = {f"backbone.vision_model.{name}": weight.contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    whole = {
        "architectures": ["NearIDModel"],
        "model_type": "nearid",
        "vision_config": read_json(folder / "config.json"),
    }
    write_json(folder / "config.json", whole | {"embed_dim": _WIDTH["hidden_size"], "normalize_embeddings": True})
    for name in ("configuration_nearid.py", "modeling_nearid.py"):
        (folder / name).write_text('raise RuntimeError("code of a model folder was run")\n')


def _save(model: Any, processor: Any, folder: Path) -> None:
    # Large weights: with those of a new model, all images have nearly the same tokens.
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    name_processor(folder)


def name_processor(folder: Path) -> None:
    """Name the image processor as releases do, without the suffix that this version of transformers adds."""
    path = folder / "preprocessor_config.json"
    told = read_json(path)
    write_json(path, told | {"image_processor_type": told["image_processor_type"].removesuffix("Pil")})
