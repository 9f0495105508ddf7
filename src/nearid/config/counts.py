"""How many identities and images a config asks for, as far as that is known before anything is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Config = Mapping[str, Any]
# What the released sets hold (spec data.md): identities, views per identity.
_RELEASED_IDENTITIES = 19_386
_RELEASED_VIEWS = 45_215 / 19_386


def options_of(config: Config) -> Mapping[str, Any]:
    """The settings of the data set's kind."""
    options: Mapping[str, Any] = config["dataset"].get(config["dataset"]["kind"], {})
    return options


def count_identities(config: Config) -> int:
    """Identities of the data set; those of the released sets where the config does not say."""
    if config["dataset"]["kind"] == "image_folder":
        path = options_of(config)["path"]
        return sum(each.is_dir() for each in Path(path).iterdir()) if path and Path(path).is_dir() else 0
    return int(options_of(config).get("identities") or _RELEASED_IDENTITIES)


def count_views(config: Config) -> float:
    """Views per identity, on the mean."""
    if config["dataset"]["kind"] == "image_folder":
        return 3.0
    share = options_of(config).get("three_view_fraction")
    return _RELEASED_VIEWS if share is None else 2.0 + share


def count_images(config: Config, splits: Iterable[str]) -> float:
    """Views of the identities in these splits; `train` is what the others leave."""
    identities, sizes = count_identities(config), config["dataset"]["splits"]
    given = {split: identities if size == "all" else int(size) for split, size in sizes.items()}
    held = {split: min(identities, given.get(split, 0)) for split in ("val", "test")}
    held["train"] = max(0, identities - sum(held.values()))
    return sum(held[split] for split in splits) * count_views(config)
