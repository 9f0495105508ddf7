"""Settings of the stage `distractors`."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Discriminator, Tag

from nearid.config.schema import sources
from nearid.config.settings import Settings
from nearid.config.settings.data import AnyDataset

Chosen = TypeVar("Chosen", bound=sources.Options)


class Source(Settings, Generic[Chosen]):
    """How a source paints: an engine with its options, and how its output is finished."""

    engine: str
    working_px: int
    dilate_px: int
    paste_back: bool
    feather_px: int
    blur_sigma: float
    options: Chosen


AnySource = Annotated[
    Annotated[Source[sources.FluxFill], Tag("flux_fill")]
    | Annotated[Source[sources.FluxCanny], Tag("flux_canny")]
    | Annotated[Source[sources.QwenControlnet], Tag("qwen_controlnet")]
    | Annotated[Source[sources.SdxlInpaint], Tag("sdxl_inpaint")]
    | Annotated[Source[sources.Powerpaint], Tag("powerpaint")]
    | Annotated[Source[sources.Sibling], Tag("sibling")]
    | Annotated[Source[sources.CutPaste], Tag("cut_paste")]
    | Annotated[Source[sources.Released], Tag("released")]
    | Annotated[Source[sources.OwnOptions], Tag("own")],
    Discriminator(sources.engine_of),
]


class InpaintShard(Settings):
    """Settings of `inpaint_shard`."""

    seed: int
    source: AnySource
    source_id: str
    splits: list[Literal["train", "val", "test"]]
    dataset: AnyDataset


class MakeQualitySheet(Settings):
    """Settings of `make_quality_sheet`."""

    seed: int
    source_id: str
    dilate_px: int
    shards: int
    examples: int
    size_px: int
