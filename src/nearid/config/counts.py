"""How many identities and images a config asks for, as far as that is known before anything is made."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nearid.config.types import Config

# Sizes of the released sets (docs/protocol.md 1.2): identities, views per identity.
_RELEASED_IDENTITIES = 19_386
_RELEASED_VIEWS = 45_215 / 19_386


def options_of(config: Config) -> Mapping[str, Any]:
    """The settings of the data set's kind."""
    options: Mapping[str, Any] = config["dataset"].get(config["dataset"]["kind"], {})
    return options


def count_identities(config: Config) -> int:
    """Identities of the data set; as many as the released sets have if the config does not say."""
    there = known_identities(config)
    if there is None:
        return 0 if config["dataset"]["kind"] == "image_folder" else _RELEASED_IDENTITIES
    return there if options_of(config).get("identities") else min(there, _RELEASED_IDENTITIES)


def known_identities(config: Config) -> int | None:
    """The largest possible number of identities, before any is dropped; None if it is not known yet."""
    if config["dataset"]["kind"] == "image_folder":
        path = options_of(config)["path"]
        return sum(each.is_dir() for each in Path(path).iterdir()) if path and Path(path).is_dir() else None
    given = options_of(config).get("identities")
    return int(given) if given else _count_records(config)


def _count_records(config: Config) -> int | None:
    """Records of a release that is fetched, or in the folder that stands in for the hub; None if neither exists.

    Some of them will be dropped. A release that is fetched during a run may have another number than was assumed
    before: shards whose parts are painted already are then joined as they were cut (`nearid.config.painting`).
    """
    path = str(options_of(config).get("path", ""))
    below = path.removeprefix("resources/")
    places = [Path(path), *([Path(config["mirror"]) / below] if config["mirror"] and below != path else [])]
    for place in places:
        files = [file for file in (place / "metadata.json", *sorted(place.glob("data/*.parquet"))) if file.is_file()]
        if files:
            return sum(_count_rows(file, file.stat().st_mtime_ns) for file in files)
    return None


@functools.cache
def _count_rows(file: Path, changed_ns: int) -> int:
    """Rows of a Parquet file, or records of SynCD's JSON, each of which lists its files once."""
    if file.suffix == ".json":
        return file.read_bytes().count(b'"filenames"')
    import pyarrow.parquet

    return int(pyarrow.parquet.ParquetFile(file).metadata.num_rows)


def count_views(config: Config) -> float:
    """Mean number of views per identity."""
    if config["dataset"]["kind"] == "image_folder":
        return 3.0
    share = options_of(config).get("three_view_fraction")
    return _RELEASED_VIEWS if share is None else 2.0 + share


def count_images(config: Config, splits: Iterable[str]) -> float:
    """Views of the identities in these splits; `train` is what `val` and `test` leave."""
    identities, sizes = count_identities(config), config["dataset"]["splits"]
    given = {split: identities if size == "all" else int(size) for split, size in sizes.items()}
    held = {split: min(identities, given.get(split, 0)) for split in ("val", "test")}
    held["train"] = max(0, identities - sum(held.values()))
    return sum(held[split] for split in splits) * count_views(config)
