"""Settings of the steps that score, and of the step that computes metrics from the scores."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Tag

from nearid.config.schema.base import Benchmark
from nearid.config.settings import Settings
from nearid.config.settings.tokens import BackboneSettings


class Scorer(Settings):
    """An entry of the config's `scorers`; `nearid.config.schema.scorers` explains the keys."""

    kind: str
    benchmarks: list[Benchmark] | None = None


class Encoder(Scorer):
    """Kind `encoder`."""

    kind: Literal["encoder"]
    backbone: str | None = None
    readout: Literal["map", "mean"] | None = None


class TrainedHead(Scorer):
    """Kind `head`: one of this run."""

    kind: Literal["head"]
    ablation: str
    step: int | None = None


class ForeignHead(Scorer):
    """Kind `head`: one that was trained elsewhere."""

    kind: Literal["head"]
    path: str
    backbone: str | None = None


class ColourHistogram(Scorer):
    """Kind `colour_histogram`."""

    kind: Literal["colour_histogram"]
    bins: int | None = None


class JudgeStandIn(Scorer):
    """Kind `judge_stand_in`."""

    kind: Literal["judge_stand_in"]


class VSM(Scorer):
    """Kind `vsm`."""

    kind: Literal["vsm"]
    package: str
    model: str
    hub: dict[str, str] | None = None
    distractor_masks: Literal["white", "own"] | None = None
    masks: Literal["cleaned", "raw"] | None = None
    mask_resize: Literal["nearest", "bilinear"] | None = None


class ReleasedRatings(Scorer):
    """Kind `ratings`."""

    kind: Literal["ratings"]
    ratings: str


class LocalJudge(Scorer):
    """Kind `vlm_judge`: a model on this machine."""

    kind: Literal["vlm_judge"]
    model: str
    prompt: str | None = None
    max_new_tokens: int | None = None
    batch_size: int | None = None
    offload: Literal["none", "model", "group"] | None = None


class ServedJudge(Scorer):
    """Kind `vlm_judge`: a model behind an endpoint."""

    kind: Literal["vlm_judge"]
    endpoint: str
    served_model: str
    model: Literal[""] | None = None
    """Empty if an overlay sets `endpoint` for an entry with a `model`, since it cannot remove a key."""
    api_key_env: str | None = None
    timeout_s: float | None = None
    concurrency: int | None = None
    prompt: str | None = None
    max_new_tokens: int | None = None


class OwnScorer(Scorer):
    """A kind of your own, which checks its keys itself."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]
    masks: Literal["cleaned", "raw"] | None = None


def _tag(scorer: Any) -> str:
    """Tag of the class that checks an entry."""
    kind = scorer.get("kind") if isinstance(scorer, dict) else None
    if kind == "head":
        return "foreign_head" if "path" in scorer else "head"
    if kind == "vlm_judge":
        return "served_judge" if "endpoint" in scorer else "vlm_judge"
    return kind if kind in _KINDS else "own"


_KINDS = {"encoder", "colour_histogram", "judge_stand_in", "vsm", "ratings"}

AnyScorer = Annotated[
    Annotated[Encoder, Tag("encoder")]
    | Annotated[TrainedHead, Tag("head")]
    | Annotated[ForeignHead, Tag("foreign_head")]
    | Annotated[ColourHistogram, Tag("colour_histogram")]
    | Annotated[JudgeStandIn, Tag("judge_stand_in")]
    | Annotated[VSM, Tag("vsm")]
    | Annotated[ReleasedRatings, Tag("ratings")]
    | Annotated[LocalJudge, Tag("vlm_judge")]
    | Annotated[ServedJudge, Tag("served_judge")]
    | Annotated[OwnScorer, Tag("own")],
    Discriminator(_tag),
]
"""A scorer, checked with the keys of its kind."""


class Score(Settings):
    """How a scorer is scored; the same for every benchmark.

    Attributes:
        scorer: its entry.
        scorer_id: its id.
        conditions: those under which images are compared, `full` and `fg`.
        backbone: the one whose tokens it reads, if it reads any.
        backbone_id: names the cached tokens.
        token_shards: number of token shards, by collection.
        tokens: `images` if tokens are computed from images instead of read.
    """

    scorer: AnyScorer
    scorer_id: str
    conditions: list[str]
    backbone: BackboneSettings | None = None
    backbone_id: str | None = None
    token_shards: dict[str, int] | None = None
    tokens: Literal["images"] | None = None


class ScoreNearIDBench(Score):
    """On NearID-bench: distractors of `sources`, identities of `split`."""

    sources: list[str]
    split: str


class ScoreMTG(Score):
    """On MTG."""


class ScoreDreamBench(Score):
    """On DreamBench++: the samples at `path`, or the simulated ones of this run; neither for released ratings."""

    path: str | None = None
    simulated: Literal[True] | None = None


class SummariseScores(Settings):
    """How a scorer's similarities are summarised as metrics.

    Attributes:
        scorer_id: the scorer.
        groups: sources by group.
        headline_group: the group of the headline numbers.
        benchmarks: those for which it has scores.
        seed: of what is drawn.
        absent: why it has no scores, by benchmark.
        dreambench: folder of the people's ratings, if it has scores of DreamBench++.
        simulated: whether the raters are the simulated ones of this run instead.
    """

    scorer_id: str
    groups: dict[str, list[str]]
    headline_group: str
    benchmarks: list[Benchmark]
    seed: int
    absent: dict[str, str] | None = None
    dreambench: str | None = None
    simulated: Literal[True] | None = None
