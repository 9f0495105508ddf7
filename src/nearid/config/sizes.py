"""Checks that splits, heads and figures fit together, as far as sizes are known before anything is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nearid.config.counts import known_identities
from nearid.config.mixes import drawn_sources
from nearid.config.steps import mix_of
from nearid.config.types import Config
from nearid.errors import UserError


def check_sizes(config: Config) -> None:
    """Check that every split that something selected reads has identities.

    A figure that asks for more identities than its split has shows all of them. Official splits are not checked, since
    their sizes are in the data.

    Raises:
        UserError: lists all that does not fit.
    """
    dataset = config["dataset"]
    if dataset["kind"] == "nearid" or dataset.get(dataset["kind"], {}).get("official_splits"):
        return
    problems = list(_misfits(config))
    if problems:
        raise UserError(
            "config, key dataset.splits",
            "; ".join(problems),
            "identities in every split that is read, and not more than there are",
            "change the sizes, or leave out what reads an empty split: `select: {drop: [...]}`",
        )


def _misfits(config: Config) -> Iterator[str]:
    sizes, there = config["dataset"]["splits"], known_identities(config)
    val, test = sizes["val"], sizes["test"]
    held = val if test == "all" else val + test
    if there is not None and held > there:
        yield f"val {val} and test {test}, of at most {there} identities"
    for name in config["select"]["figures"]:
        split = shown_split(config["paper"]["figures"][name])
        if split and not sizes[split]:
            yield f"{split} 0, and {name} shows identities of {split}"
    nothing_trains = test == "all" or (there is not None and held == there)
    heads = [name for name in config["select"]["ablations"] if drawn_sources(mix_of(config, name))]
    if nothing_trains and heads:
        yield f"val {val} and test {test} leave nothing to train {', '.join(heads)}"


def shown_split(figure: Mapping[str, Any]) -> str | None:
    """The split whose identities a figure shows; None if it shows none, or part edits."""
    if "tokens" in figure["needs"]:
        return str(figure["split"])
    return "test" if "images" in figure["needs"] and figure.get("benchmark") != "mtg" else None
