"""How heads are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nearid.config.schema.base import ConfigBlock, Id, Number, Probability, absent


class MaskProbability(ConfigBlock):
    """Chance that an image is reduced to its foreground."""

    anchor: Probability = absent()
    """The anchor's."""
    positive: Probability = absent()
    """A positive's."""
    distractor: Probability = absent()
    """A distractor's."""


class Augmentation(ConfigBlock):
    """Probability of each change of an image."""

    flip: Probability = absent()
    """Mirrored."""
    jitter: Probability = absent()
    """Brightness, contrast and saturation by up to a fifth, hue by up to a twentieth of the circle."""
    affine: Probability = absent()
    """Moved and scaled by up to a tenth of the side."""


class Training(ConfigBlock):
    """Settings of training; an ablation may override them."""

    backbone: Id = absent()
    """Id in backbones whose tokens are pooled."""
    epochs: int = absent(ge=1)
    """Passes over the mixture."""
    batch_size: int = absent(ge=2)
    """Tuples per step."""
    last_batch: Literal["drop", "keep"] = absent()
    """The last, partial batch of an epoch: `drop` it, or `keep` it as the authors' code does (3,344 instead of
    3,333 steps)."""
    learning_rate: Number = absent(gt=0)
    """Peak learning rate of AdamW."""
    weight_decay: Number = absent(ge=0)
    """Weight decay of AdamW."""
    warmup_steps: int = absent(ge=0)
    """Steps of linear warm-up; then a cosine to the last step."""
    clip_norm: Number = absent(gt=0)
    """Gradients are clipped to this norm."""
    mask_probability: MaskProbability = absent()
    """Chance that an image is reduced to its foreground."""
    masks: Literal["cleaned", "raw"] = absent()
    """Masks that black out training images: `cleaned` as for the benchmarks (when missing), or `raw`, the data
    set's own, grey above 0; needs `tokens: online` and `dataset.keep_raw_masks`."""
    distractors: Literal["views", "anchor_only", "anchor_sources"] = absent()
    """Which distractors a sample has: `views`, one on each view's background (authors' code); `anchor_only`, the
    one on the anchor's; `anchor_sources`, as many on the anchor's background, each of another source (the
    paper's sentence)."""
    own_by: Literal["position", "identity"] = absent()
    """Which rows of a batch do not count as negatives of a sample: only its own `position`, or all rows of its
    `identity` (a repeated sample may occur twice in a batch)."""
    loss_precision: Literal["float32", "float16", "bfloat16"] = absent()
    """Precision of the matrix products in the loss; the authors' code uses `float16`, by autocast."""
    tokens: Literal["cached", "online"] = absent()
    """`cached` reads the token shards; `online` decodes the images of each batch and passes them through the
    backbone once, for all heads of a pack."""
    augmentation: Augmentation = absent()
    """Probability of each change of an image, after masking. With cached tokens flips are exact (mirrored images
    are extracted too); jitter and affine need `augmented_draws`."""
    augmented_draws: int = absent(ge=0, le=99)
    """For jitter or affine with cached tokens: how many draws of each training image are extracted, among which
    training chooses. Each draw takes the bytes of one more image; `tokens: online` draws in every step instead."""
    validate_every_steps: int = absent(ge=0)
    """Steps between two evaluations on the validation identities; 0 makes none."""
    pack: Literal["all", "none"] | Annotated[int, Field(ge=1)] = absent()
    """How many heads that share mix, seed, backbone and batches train in one job: `all`, `none` or a number."""
    zero_stage: Literal[0, 1, 2] = absent()
    """DeepSpeed's ZeRO stage; a head is small, 0 is fastest."""
    checkpoint_every_steps: int = absent(ge=1)
    """Steps between two resumable states."""
    keep_every_steps: int = absent(ge=0)
    """Steps between two kept heads (figure 5's animation); 0 keeps none."""


class SharedTraining(Training):
    """What every head has, unless its ablation says otherwise."""

    backbone: Id
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    learning_rate: Number = Field(gt=0)
