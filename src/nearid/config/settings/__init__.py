"""The settings of each step, typed: one module per stage, one model per step, as `nearid.config.steps` makes them.

They hold types alone, no defaults that a result could depend on and no logic: a fingerprint covers the values that a
step was given, not these modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, PrivateAttr, ValidationError, model_validator

from nearid.errors import UserError

PASS = "pass what `nearid.config.step_settings` returns for this step"


class Settings(BaseModel):
    """What a step, or a part of it, was told."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    _given: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def parse(cls, given: Mapping[str, Any], where: str = "--settings", then: str = PASS) -> Self:
        """Settings of what a rule passes, or `nearid.config.step_settings` returns.

        Args:
            given: the settings as plain values.
            where: they come from, for the error.
            then: what to do about a mistake in them, for the error.

        Raises:
            UserError: a key is missing, unknown or of another type.
        """
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            keys, members = _split(first["loc"], given)
            raise UserError(
                f"{where}, {'.'.join(keys)}",
                "nothing" if first["type"] == "missing" else repr(first["input"]),
                f"{first['msg']} ({', '.join([cls.__name__, *members])})",
                then,
            ) from error

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        settings = validate(given)
        if isinstance(given, Mapping):
            settings._given = given
        return settings

    @property
    def given(self) -> Mapping[str, Any]:
        """What was parsed, unchanged, of parts too: for keys of caches and for files that repeat the settings."""
        return self._given


def _split(place: tuple[int | str, ...], given: Any) -> tuple[list[str], list[str]]:
    """Split pydantic's place of a mistake into the keys that lead to it and the members of unions, such as a kind."""
    keys, members = [], []
    for part in place[:-1]:
        if isinstance(part, str) and not (isinstance(given, Mapping) and part in given):
            members.append(part)
            continue
        given = given[part]
        keys.append(str(part))
    return [*keys, *map(str, place[-1:])], members
