"""Names that DreamBench++ uses: its generation methods and the folder of its human ratings (docs/protocol.md 4.6)."""

from __future__ import annotations

METHODS = (
    "textual_inversion_sd",
    "dreambooth_sd",
    "dreambooth_lora_sdxl",
    "blip_diffusion",
    "emu2",
    "ip_adapter_plus_vit_h_sdxl",
    "ip_adapter_vit_g_sdxl",
)
HUMANS = "data_human_rating/merged_data"
