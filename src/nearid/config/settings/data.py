"""Settings of the stage `data`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Tag, model_validator

from nearid.config.schema.base import ConfigBlock, absent
from nearid.config.schema.dataset import ImageFolder, NearidData, RenderedData, Splits, SyncdData
from nearid.config.schema.scorers import SimulatedRaters
from nearid.config.settings import Settings

Block = TypeVar("Block", bound=BaseModel)


def _check_complete(block: Block) -> Block:
    """Check that no default of the schema is used, since no fingerprint covers it: a complete config has all keys."""
    defaults = {name for name, field in type(block).model_fields.items() if field.default is not None}
    if missing := sorted(defaults - block.model_fields_set):
        raise ValueError(f"{', '.join(missing)} missing")
    return block


class OwnData(ConfigBlock):
    """Options of a kind of your own: those that curation reads of every kind, and any others."""

    model_config = ConfigDict(extra="allow")

    dedupe: str = absent()
    official_splits: str = absent()
    check_counts: bool = absent()
    mtg: str = absent()


class DatasetSettings(Settings, Generic[Block]):
    """A data set: its kind, with the options of that kind."""

    kind: str
    options: Annotated[Block, AfterValidator(_check_complete)]


def _kind_of(dataset: Any) -> str:
    kind = dataset.get("kind") if isinstance(dataset, Mapping) else None
    return kind if kind in ("rendered", "image_folder", "syncd", "nearid") else "own"


AnyDataset = Annotated[
    Annotated[DatasetSettings[RenderedData], Tag("rendered")]
    | Annotated[DatasetSettings[ImageFolder], Tag("image_folder")]
    | Annotated[DatasetSettings[SyncdData], Tag("syncd")]
    | Annotated[DatasetSettings[NearidData], Tag("nearid")]
    | Annotated[DatasetSettings[OwnData], Tag("own")],
    Discriminator(_kind_of),
]


class _OfDataset(Settings):
    """Settings with a data set's `kind` and `options` as keys of their own, gathered in `dataset` here."""

    seed: int
    dataset: AnyDataset

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        dataset = {key: given[key] for key in ("kind", "options") if key in given}
        return {"dataset": dataset} | {key: value for key, value in given.items() if key not in dataset}


class CuratePositives(_OfDataset):
    """Settings of `curate_positives`."""

    shards: int
    splits: Annotated[Splits, AfterValidator(_check_complete)]
    clean_masks: bool
    min_views: int
    keep_raw_masks: bool = absent()


class MakeMTG(_OfDataset):
    """Settings of `make_mtg`."""


class MakeRaters(_OfDataset):
    """Settings of `make_raters`."""

    simulated: Annotated[SimulatedRaters, AfterValidator(_check_complete)]
