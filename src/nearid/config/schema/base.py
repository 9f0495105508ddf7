"""Building blocks of the config's schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


class ConfigBlock(BaseModel):
    """A block of the config: unknown keys are refused, values not converted. The string below a key is its meaning."""

    model_config = ConfigDict(extra="forbid", strict=True, regex_engine="python-re", defer_build=True)


def absent(**limits: Any) -> Any:
    """A key that may be missing and then has no value; its text says what that means."""
    return Field(default=None, **limits)


def block(kind: type[ConfigBlock]) -> Any:
    """A block that may be missing, with the defaults of its keys."""
    return Field(default_factory=kind)


def _check_unique(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("each once")
    return values


_T = TypeVar("_T")
Unique = Annotated[list[_T], AfterValidator(_check_unique), Field(json_schema_extra={"uniqueItems": True})]
ID_PATTERN = r"^[a-z0-9_]+\Z"
Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
"""A key of a catalogue; some are names of modules."""
Ids = Unique[Id]
Number = float
"""Whole numbers stay whole: the config is checked, not converted."""
Probability = Annotated[Number, Field(ge=0, le=1)]
Benchmark = Literal["nearid_bench", "mtg", "dreambench"]
