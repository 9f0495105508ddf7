"""Settings of the step that trains a head."""

from __future__ import annotations

from typing import Any, Literal

from nearid.config.settings import Settings
from nearid.config.settings.tokens import BackboneSettings


class MaskProbability(Settings):
    """Chance that an image is reduced to its foreground, by its role."""

    anchor: float
    positive: float
    distractor: float


class Augmentation(Settings):
    """Chance of each change of an image."""

    flip: float
    jitter: float
    affine: float


class MixSettings(Settings):
    """What samples are drawn from (`nearid.config.schema.ablations.Mix`)."""

    sources: list[str]
    nearid_repeats: int
    mtg_repeats: int
    severities: dict[str, float]


class TrainingSettings(Settings):
    """How a head is trained; `nearid.config.schema.training` explains the keys. None: the config does not set it."""

    backbone: str
    epochs: int
    batch_size: int
    last_batch: Literal["drop", "keep"] | None = None
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    clip_norm: float
    mask_probability: MaskProbability
    masks: Literal["cleaned", "raw"] | None = None
    distractors: Literal["views", "anchor_only", "anchor_sources"] | None = None
    own_by: Literal["position", "identity"] | None = None
    loss_precision: Literal["float32", "float16", "bfloat16"] | None = None
    tokens: Literal["cached", "online"]
    augmentation: Augmentation
    augmented_draws: int | None = None
    validate_every_steps: int
    zero_stage: Literal[0, 1, 2]
    checkpoint_every_steps: int
    keep_every_steps: int


class TrainHead(Settings):
    """How a head is trained.

    Attributes:
        ablation: its id.
        objective: module in `nearid.heads.objectives`.
        params: parameters of the objective, which checks them.
        mix: what its samples are drawn from.
        seed: of its samples.
        backbone: the one whose tokens it pools.
        backbone_id: names the cached tokens.
        training: all else.
    """

    ablation: str
    objective: str
    params: dict[str, Any]
    mix: MixSettings
    seed: int
    backbone: BackboneSettings
    backbone_id: str
    training: TrainingSettings
