"""The settings of the demo's backbone: the content of `config/backbone.yaml`, which explains them."""

from __future__ import annotations

from typing import Literal

from nearid.config.settings import Settings


class LossWeights(Settings):
    """Weight of each loss in the sum (`nearid.demo.pretraining.losses`)."""

    caption: float
    category: float
    pattern: float
    motif: float
    traits: float
    scene: float
    share: float
    context: float
    masked: float
    pixels: float
    surroundings: float


class Pretraining(Settings):
    """How the backbone is made. Sizes ending in `_px` are pixels; probabilities and fractions lie in [0, 1].

    Attributes:
        steps_per_chunk: steps on one pool of rendered objects, after which progress is saved.
        chunk_objects: objects rendered per chunk, of which the latest `chunks_kept` chunks form the pool.
        kept_patches: patches that a step encodes, but for the last `full_steps`, which encode all.
        alone, alone_early: share of objects without a scene, after and before `early_fraction` of the steps.
        context_rise: fractions of the steps between which the weight of `context` rises.
        caption_gradient: share of the caption's gradient that reaches the tokens.
    """

    seed: int
    threads: int
    size_px: int
    patch_px: int
    width: int
    layers: int
    heads: int
    precision: Literal["float32", "bfloat16"]
    steps: int
    batch_size: int
    learning_rate: float
    muon_learning_rate: float
    weight_decay: float
    warmup_steps: int
    chunk_objects: int
    chunks_kept: int
    steps_per_chunk: int
    full_steps: int
    kept_patches: int
    early_fraction: float
    alone_early: float
    alone: float
    context_rise: list[float]
    masked_images: float
    masked_patches: float
    caption_gradient: float
    weights: LossWeights
