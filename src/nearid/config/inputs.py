"""Files and folders of the user that a step reads; its rule has lists of their contents as inputs (docs/reruns.md)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nearid.config.downloads import FOLDER
from nearid.config.steps import backbone_of, benchmarks_of, training_of
from nearid.config.types import Config
from nearid.errors import UserError

KEYS = {
    "captions", "controlnet", "dreambench", "hub", "lora", "mask_model", "model", "mtg", "official_splits", "package",
    "path", "prompt", "ratings", "samples", "seed_table",
}  # fmt: skip
"""Keys of settings whose value is a path."""
# (catalogue, key) of values that may name a model of the hub instead.
_OF_THE_HUB = {
    ("backbones", "path"), ("dataset", "mask_model"), *(("sources", key) for key in ("controlnet", "lora", "model")),
}  # fmt: skip
_MODEL_KEYS = {key for _, key in _OF_THE_HUB}
# Options of a data set that a step reads; other steps read none of them.
_OPTIONS = {"curate_positives": KEYS - {"mtg"}, "make_mtg": {"mtg"}}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def own_paths(step: str, settings: Mapping[str, Any]) -> list[str]:
    """Paths of the user's files and folders in a step's settings, in order: those that the workflow does not fetch.

    A model of the hub counts as its folder in the hub's cache; one that is not cached is left out.
    """
    found = []
    for key, text in _paths(step, settings):
        if text and not text.startswith(FOLDER):
            found.append(_in_cache(text, settings) if key in _MODEL_KEYS else text)
    return list(dict.fromkeys(filter(None, found)))


def missing_paths(config: Config) -> dict[str, str]:
    """Paths that selected members name and that do not exist: config key -> path, empty if a required one is not set.

    Downloads and models of the hub are not reported: downloads are fetched, and a missing model ends the first job that
    needs it.
    """
    missing = {}
    for where, entry in _selected_entries(config):
        for key, value in entry.items():
            texts = value if key == "hub" else {key: value} if key in KEYS else {}
            for name, text in texts.items():
                needed = where == "dataset.image_folder" and key == "path"
                fetched = text.startswith(FOLDER) or is_hub_model(where.partition(".")[0], key, text)
                if (text or needed) and not fetched and not (text and Path(text).exists()):
                    missing[f"{where}.{name}"] = text
    return missing


def missing_path(key: str, path: str) -> UserError:
    """The error for an entry of `missing_paths`."""
    return UserError(
        f"config, key {key}",
        f"{path!r}, which is not there" if path else "nothing",
        "a folder of yours" + (", e.g. --config photos_dir=PATH" if key == "dataset.image_folder.path" else ""),
        "correct the path, or connect the disk that it is on",
    )


def check_paths(config: Config) -> None:
    """Check that the user's files and folders exist.

    Raises:
        UserError: lists all that do not.
    """
    missing = missing_paths(config)
    if len(missing) > 1:
        listed = [f"{key}: {path!r}" if path else f"{key}: nothing" for key, path in missing.items()]
        raise UserError(
            "config", f"{len(missing)} paths that are not there:" + in_lines(listed), "files and folders of yours",
            "correct the paths, or connect the disk that they are on",
        )  # fmt: skip
    for key, path in missing.items():
        raise missing_path(key, path)


def in_lines(told: Iterable[str]) -> str:
    """A list inside an error's text, indented to its column."""
    return "".join(f"\n            - {line}" for line in told)


def _selected_entries(config: Config) -> Iterator[tuple[str, Mapping[str, Any]]]:
    select, dataset = config["select"], config["dataset"]
    kind = dataset["kind"]
    wanted = _OPTIONS["curate_positives"] | (_OPTIONS["make_mtg"] if "mtg" in select["benchmarks"] else set())
    yield f"dataset.{kind}", {key: value for key, value in dataset.get(kind, {}).items() if key in wanted}
    for source in select["sources"]:
        if source in config["released"]:
            yield "released", {"path": config["released"][source]}
        else:
            yield f"sources.{source}.options", config["sources"][source]["options"]
    read = [training_of(config, ablation)["backbone"] for ablation in select["ablations"]]
    read += filter(None, (backbone_of(config, scorer) for scorer in select["scorers"]))
    for backbone in dict.fromkeys(read):
        yield f"backbones.{backbone}", config["backbones"][backbone]
    for scorer in select["scorers"]:
        yield f"scorers.{scorer}", config["scorers"][scorer]
    yield "paper", {"seed_table": config["paper"]["seed_table"]}
    rated = [scorer for scorer in select["scorers"] if "dreambench" in benchmarks_of(config, scorer)]
    if rated and not config["dreambench"].get("simulated"):
        looking = any(config["scorers"][scorer]["kind"] != "ratings" for scorer in rated)
        yield "dreambench", {key: path for key, path in config["dreambench"].items() if looking or key != "samples"}


def _paths(step: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if key == "options" and "kind" in settings:  # the data set's
            yield from ((name, value[name]) for name in sorted(_OPTIONS.get(step, set()) & set(value)))
        elif key in ("dataset", "params", "absent"):
            # `dataset`: painting reads no file of it; `params` are numbers, `absent` reasons by benchmark.
            continue
        elif key == "hub":
            yield from ((key, folder) for _, folder in sorted(value.items()))
        elif isinstance(value, Mapping):
            yield from _paths(step, value)
        elif key in KEYS and isinstance(value, str):
            yield key, value


def is_hub_model(catalogue: str, key: str, text: str) -> bool:
    """Whether the value `text` of a key in an entry of `catalogue` (or of `dataset`) names a model of the hub."""
    return (catalogue, key) in _OF_THE_HUB and is_hub_id(text)


def is_hub_id(text: str) -> bool:
    """Whether `text` has the form of a repository of the hub, `owner/name`, and is no path here."""
    return _HUB_ID.fullmatch(text) is not None and not os.path.lexists(text)


def cached_model(name: str, revision: str = "") -> Path | None:
    """The folder of a model in this machine's cache of the hub; None if it is not cached. Uses no network."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    repository = cache / f"models--{name.replace('/', '--')}"
    named = repository / "refs" / (revision or "main")
    folder = repository / "snapshots" / (named.read_text().strip() if named.is_file() else revision or "none")
    return folder if folder.is_dir() else None


def _in_cache(text: str, settings: Mapping[str, Any]) -> str:
    if not is_hub_id(text):
        return text
    backbone = settings.get("backbone", {})
    folder = cached_model(text, backbone.get("revision", "") if backbone.get("path") == text else "")
    return "" if folder is None else str(folder)
