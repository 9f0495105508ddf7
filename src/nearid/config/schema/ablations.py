"""Mixtures and heads."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from nearid.config.schema.base import ConfigBlock, Id, Ids, Number, Probability, Unique, absent, block
from nearid.config.schema.training import Training


class Mix(ConfigBlock):
    """A training mixture."""

    sources: Ids = Field(default_factory=list)
    """Sources that a distractor slot draws from; none means no NearID rows."""
    nearid_repeats: int = Field(1, ge=0)
    """Copies of the training identities per epoch."""
    mtg_repeats: int = Field(0, ge=0)
    """Copies of the part-edit training set per epoch."""
    severities: dict[Id, Probability] = Field(default_factory=dict)
    """Oracle objectives: how strongly each source edits (0 to 1); by default all sources are equal, so that only
    part edits are ranked."""


class Params(ConfigBlock):
    """Parameters of an objective: those of the shipped ones, and plain values for one of your own."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, bool | int | float | str]

    alpha: Number = absent(ge=0)
    """Weight of the ranking term."""
    beta: Number = absent()
    """Weight of positive cohesion; a negative one drives the views of an object apart."""
    temperature: Number = absent(gt=0)
    """Temperature of the logits."""
    bias: Number = absent()
    """siglip_rank: fixed bias."""
    margin: Number = absent()
    """circle_rank: margin."""
    gamma: Number = absent()
    """circle_rank: scale."""
    oracle_weight: Number = absent(ge=0)
    """Weight of the oracle term."""
    oracle_margin: Number = absent()
    """Margin of the oracle term, in units of `oracle_scale`."""
    oracle_scale: Literal["logit", "cosine"] = absent()
    """Oracle term on logits (paper) or cosines (authors' code)."""
    hinge: Literal["max_logit", "max_cosine", "mean_cosine"] = absent()
    """circle_rank: hardest batch negative (paper: on logits) or the authors' mean."""
    ranking: Literal["pairs", "slots"] = absent()
    """nearid: mean over all valid pairs, or per slot first."""
    cohesion: Literal["anchors", "views"] = absent()
    """nearid: divided by all anchors (paper) or by all valid views (authors' code)."""
    padding: Literal["exclude", "keep"] = absent()
    """nearid, circle_rank: `keep` leaves padding in the pools, encoded as in the authors' code: an image of zeros
    after preprocessing."""


class Ablation(ConfigBlock):
    """A head: one training run."""

    display: str
    """Name shown in tables."""
    objective: Id
    """Module in nearid.heads.objectives."""
    params: Params = block(Params)
    """Parameters of the objective, checked against its module; those of the shipped objectives are below."""
    mix: Id
    """Id in mixes."""
    seed: int = absent(ge=0)
    """Seed of this head; the config's seed when it is missing."""
    seeds: Unique[Annotated[int, Field(ge=0)]] = absent(min_length=1)
    """Instead of `seed`: one head for each of these, with the ids `<id>_<seed>`. In `select` the id stands for all of
    them."""
    training: Training = block(Training)
    """Overrides of the section training."""
    choice: Id = absent()
    """`choice` of its scorer, see `scorers`."""
    shown_in: Ids = absent()
    """`shown_in` of its scorer, see `scorers`."""

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        # Entries with `seeds` and no `seed` have been replaced by one entry per seed.
        if self.seeds:
            raise ValueError("either `seed` or `seeds`")
        return self
