"""What the paper's tables and figures show and are computed from: defaults of the config's section `paper`."""

from __future__ import annotations

from typing import Any

_OBJECTIVES = ["infonce", "infonce_rneg", "infonce_oracle", "infonce_rneg_oracle", "siglip", "circle"]
_ALPHAS = ["nearid_a0", "nearid_a01", "nearid_a025", "nearid", "nearid_a1", "nearid_a2"]
_BETAS = ["nearid_a1_b01", "nearid_a1_b02", "nearid_a1_b03"]
_JUDGES = ["qwen3vl_4b", "qwen3vl_8b", "qwen3vl_30b"]

PAPER_ROWS = frozenset(
    {
        *("clip", "dinov2", "siglip2", "vsm", *_JUDGES, *_OBJECTIVES),
        *("nearid", "nearid_cohesion", "nearid_only", "mtg_only", "nearid_1src_only"),
    }
)
"""Scorers that are compared with the row of the paper that has their id."""

TABLES: dict[str, list[str]] = {
    "table1": ["qwen3vl_30b", "clip", "dinov2", "vsm", "siglip2", "nearid"],
    "table2": ["gpt4o", "dino", "clip_i", "siglip2_mean", "nearid"],
    "table3": ["siglip2", *_OBJECTIVES, "nearid", "nearid_cohesion"],
    "table4": [*_OBJECTIVES, "nearid", "nearid_cohesion"],
    "table5": ["siglip2", "qwen3vl_30b", "vsm", "nearid"],
    "table6": ["siglip2", "nearid", "nearid_only", "mtg_only", "nearid_1src_only"],
    "table7": ["clip", "dinov2", "siglip2", "vsm", *_JUDGES, "nearid", "nearid_cohesion"],
    "table8": _ALPHAS,
    "table9": ["nearid_a1", *_BETAS],
    "table10": ["siglip2", "infonce", "infonce_rneg", "infonce_oracle", "infonce_rneg_oracle", "nearid"],
    "data": [],
}
"""Rows of each table, or its pairs of columns, in the paper's order; `data` counts the data set."""

FIGURES: dict[str, dict[str, Any]] = {
    "figure1": {"needs": ["images", "scores"], "scorers": ["siglip2", "nearid"]},
    "figure2": {"needs": ["images", "scores"], "scorers": ["siglip2", "nearid"]},
    "figure3": {
        "needs": ["images", "tokens", "metrics"],
        "ablation": "nearid",
        "scorers": ["clip", "dinov2", "siglip2", "vsm", "qwen3vl_30b", "nearid"],
    },
    "figure4": {
        "needs": ["metrics"],
        "benchmark": "dreambench",
        "scorers": ["nearid", "siglip2_mean", "vsm", "dino", "gpt4o"],
    },
    "figure5": {"needs": ["tokens"], "ablation": "nearid"},
    "figure6": {"needs": []},
    "figure7": {
        "needs": ["images", "scores"],
        "benchmark": "nearid_bench",
        "scorers": ["siglip2", "vsm", "qwen3vl_30b", "nearid"],
    },
    "figure8": {
        "needs": ["images", "scores"],
        "benchmark": "mtg",
        "scorers": ["siglip2", "vsm", "qwen3vl_30b", "nearid"],
    },
    "figure9": {
        "needs": ["scores"],
        "benchmark": "mtg",
        "scorers": ["siglip2", "clip", "dinov2", "qwen3vl_30b", "vsm", "nearid", "nearid_cohesion"],
    },
    "figure10": {"needs": []},
    "contact_sheets": {"needs": ["images"]},
    "margins": {
        "needs": ["scores"],
        "benchmark": "nearid_bench",
        "scorers": ["clip", "dinov2", "siglip2", "vsm", "qwen3vl_30b", "infonce", "nearid"],
    },
    "similarities": {
        "needs": ["scores"],
        "benchmark": "nearid_bench",
        "scorers": ["clip", "dinov2", "siglip2", "infonce", "nearid"],
    },
    "training": {"needs": ["training_log"], "ablations": ["infonce", "circle", "nearid"]},
    "weights": {"needs": ["metrics"], "scorers": [*_ALPHAS, *_BETAS]},
}
"""What each figure shows, in the paper's order, and what it needs; without scorers it shows all that run, or none."""
