"""Weights of model folders made elsewhere: a stock SigLIP folder, or the layout of the authors' release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

# The release wraps a SiglipVisionModel as `backbone`; transformers 4 nests it once more, 5 does not.
_PREFIXES = ("backbone.vision_model.", "backbone.", "vision_model.", "")


def vision_config_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The vision part of a model's config: of a release, a whole SigLIP or its vision model alone."""
    return config.get("vision_config") or config


def read_vision_state(path: Path, part: str = "") -> dict[str, Tensor]:
    """Weights of a SigLIP vision model in any of these layouts, by the names of a bare one; `part` restricts them.

    Args:
        path: a safetensors file. Pickles are never opened.
        part: prefix of the wanted names, which is removed (`head.` gives the pooling head's state dict).

    Raises:
        KeyError: the file holds no SigLIP with a pooling head.
        OSError, SafetensorError: no such file, or a damaged one.
    """
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        prefix = next((prefix for prefix in _PREFIXES if f"{prefix}head.probe" in names), None)
        if prefix is None:
            raise KeyError("head.probe: no SigLIP vision model with a pooling head")
        start = prefix + part
        return {name.removeprefix(start): file.get_tensor(name) for name in names if name.startswith(start)}
