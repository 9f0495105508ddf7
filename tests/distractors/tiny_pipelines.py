"""Stand-ins for all diffusion models, and sources that use them with tiny sizes and few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nearid.rehearsal.pipelines import (
    save_flux,
    save_powerpaint,
    save_qwen_controlnet,
    save_qwen_image,
    save_qwen_lora,
    save_sdxl,
)


def save_all(root: Path) -> dict[str, dict[str, Any]]:
    """Save all models below `root`; returns source id -> settings with tiny sizes and few steps."""
    save_flux(root / "fill")
    save_flux(root / "canny", canny=True)
    save_sdxl(root / "sdxl")
    save_qwen_image(root / "qwen/base")
    save_qwen_controlnet(root / "qwen/controlnet")
    save_qwen_lora(root / "qwen/lora", ["lightning.safetensors"])
    save_powerpaint(root / "powerpaint")
    fill = {"model": str(root / "fill"), "steps": 2, "guidance": 30.0, "max_sequence_length": 32}
    canny = {**fill, "model": str(root / "canny"), "guidance": 7.0, "strength": 0.99, "canny": [50, 200]}
    sdxl = {"model": str(root / "sdxl"), "steps": 2, "guidance": 8.0, "strength": 0.99, "negative_prompt": "text"}
    qwen = {"model": str(root / "qwen/base"), "controlnet": str(root / "qwen/controlnet"), "steps": 2, "guidance": 1.0}
    qwen |= {"lora": str(root / "qwen/lora"), "lora_file": "lightning.safetensors"}
    powerpaint = {"model": str(root / "powerpaint"), "steps": 2, "guidance": 7.5, "conditioning_scale": 1.0}
    engines = {
        "flux": ("flux_fill", 32, fill),
        "flux_1024": ("flux_fill", 64, fill),
        "fluxc": ("flux_canny", 32, canny),
        "fluxc_1024": ("flux_canny", 64, canny),
        "qwen": ("qwen_controlnet", 32, qwen),
        "qwen_1328": ("qwen_controlnet", 64, qwen),
        "sdxl": ("sdxl_inpaint", 32, sdxl),
        "sdxl_1024": ("sdxl_inpaint", 64, sdxl),
        "powerpaint": ("powerpaint", 40, powerpaint),
    }
    common = {"dilate_px": 2, "paste_back": True, "feather_px": 0, "blur_sigma": 0.0}
    return {
        name: {**common, "engine": engine, "working_px": px, "options": {**options, "precision": "float32"}}
        for name, (engine, px, options) in engines.items()
    }
