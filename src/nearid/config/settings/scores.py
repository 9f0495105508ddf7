"""Settings of the steps that score, and of the one that makes metrics of the scores."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Tag

from nearid.config.schema.base import Benchmark
from nearid.config.settings import Settings
from nearid.config.settings.tokens import BackboneSettings


class Scorer(Settings):
    """An entry of the config's `scorers`, whose keys `nearid.config.schema.scorers` explains."""

    kind: str
    benchmarks: list[Benchmark] | None = None


class Encoder(Scorer):
    """Of kind `encoder`."""

    kind: Literal["encoder"]
    backbone: str | None = None
    readout: Literal["map", "mean"] | None = None


class TrainedHead(Scorer):
    """Of kind `head`: one of this run."""

    kind: Literal["head"]
    ablation: str
    step: int | None = None


class ForeignHead(Scorer):
    """Of kind `head`: one that was trained elsewhere."""

    kind: Literal["head"]
    path: str
    backbone: str | None = None


class ColourHistogram(Scorer):
    """Of kind `colour_histogram`."""

    kind: Literal["colour_histogram"]
    bins: int | None = None


class JudgeStandIn(Scorer):
    """Of kind `judge_stand_in`."""

    kind: Literal["judge_stand_in"]


class VSM(Scorer):
    """Of kind `vsm`."""

    kind: Literal["vsm"]
    package: str
    model: str
    hub: dict[str, str] | None = None
    distractor_masks: Literal["white", "own"] | None = None
    masks: Literal["cleaned", "raw"] | None = None
    mask_resize: Literal["nearest", "bilinear"] | None = None


class ReleasedRatings(Scorer):
    """Of kind `ratings`."""

    kind: Literal["ratings"]
    ratings: str


class LocalJudge(Scorer):
    """Of kind `vlm_judge`: a model on this machine."""

    kind: Literal["vlm_judge"]
    model: str
    prompt: str | None = None
    max_new_tokens: int | None = None
    batch_size: int | None = None
    offload: Literal["none", "model", "group"] | None = None


class ServedJudge(Scorer):
    """Of kind `vlm_judge`: a model behind an endpoint."""

    kind: Literal["vlm_judge"]
    endpoint: str
    served_model: str
    model: Literal[""] | None = None
    """Empty: an overlay cannot take a `model` away."""
    api_key_env: str | None = None
    timeout_s: float | None = None
    concurrency: int | None = None
    prompt: str | None = None
    max_new_tokens: int | None = None


class OwnScorer(Scorer):
    """Of a kind of one's own, which refuses keys that it does not know."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]
    masks: Literal["cleaned", "raw"] | None = None


def _tag(scorer: Any) -> str:
    """By which class an entry is checked."""
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
"""A scorer with the keys that its kind has."""


class Score(Settings):
    """How a scorer is scored, on any benchmark.

    Attributes:
        scorer: its entry.
        scorer_id: its id.
        conditions: what images are compared under, `full` and `fg`.
        backbone: whose tokens it reads, where it reads any.
        backbone_id: names the cached tokens.
        token_shards: how many there are, by collection.
        tokens: `images` if they are computed and not read.
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
    """On DreamBench++: the samples at `path`, or the pretended ones of this run; neither for released ratings."""

    path: str | None = None
    simulated: Literal[True] | None = None


class SummariseScores(Settings):
    """What metrics are made of a scorer's similarities.

    Attributes:
        scorer_id: whose they are.
        groups: sources by group.
        headline_group: the one of the headline numbers.
        benchmarks: those it has scores of.
        seed: of what is drawn.
        absent: why it has none of a benchmark.
        dreambench: folder of the people's ratings, where it has scores of DreamBench++.
        simulated: the raters are this run's pretended ones instead.
    """

    scorer_id: str
    groups: dict[str, list[str]]
    headline_group: str
    benchmarks: list[Benchmark]
    seed: int
    absent: dict[str, str] | None = None
    dreambench: str | None = None
    simulated: Literal[True] | None = None
