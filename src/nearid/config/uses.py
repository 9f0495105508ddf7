"""Which downloads, checkouts, folders and files the selected parts of a config read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nearid.config.downloads import FOLDER
from nearid.config.gaps import needs_identities
from nearid.config.inputs import is_hub_model
from nearid.config.steps import backbone_of, benchmarks_of, drawn_collections, step_settings, training_of
from nearid.config.types import Config

# Keys whose value is a path of a file or folder, below `resources` or elsewhere.
_PATHS = (
    "path",
    "model",
    "controlnet",
    "lora",
    "package",
    "ratings",
    "samples",
    "mask_model",
    "official_splits",
    "captions",
)


@dataclass(frozen=True)
class Use:
    """A config key whose value is a path, below `resources/<id>` or elsewhere.

    Attributes:
        download: the id; empty if the path is elsewhere.
        key: of the config, for people.
        purpose: what the value is for, e.g. `backbones siglip path` or `sources flux_fill model`.
        below: path inside the download, or the path elsewhere.
        owner: the entry that has the key.
        member: catalogue and id of the owner, e.g. `sources`, `flux`.
    """

    download: str
    key: str
    purpose: str
    below: str
    owner: Mapping[str, Any]
    member: tuple[str, str]


def find_uses(config: Config) -> list[Use]:
    """Every use of a download by the selected parts of `config`."""
    return [use for use in find_paths(config) if use.download]


def find_paths(config: Config) -> list[Use]:
    """Every use of a download or another path by the selected parts of `config`."""
    return [use for entry in _entries(config) for use in _uses(*entry)]


def _entries(config: Config) -> Iterator[tuple[str, str, Mapping[str, Any], tuple[str, str]]]:
    """Key, purpose, entry and member of everything selected that may read files."""
    select, kind = config["select"], config["dataset"]["kind"]
    data = config["dataset"].get(kind, {})
    edited = "mtg" in select["benchmarks"] or any(
        "mtg_train" in drawn_collections(config, name) for name in select["ablations"]
    )
    if needs_identities(config):
        yield f"dataset.{kind}", f"dataset {kind}", {key: data[key] for key in data if key != "mtg"}, ("dataset", kind)
    if edited and "mtg" in data:
        yield f"dataset.{kind}", f"dataset {kind}", {"mtg": data["mtg"]}, ("dataset", "mtg")
    rated = [name for name in select["scorers"] if "dreambench" in benchmarks_of(config, name)]
    if rated and not config["dreambench"].get("simulated"):
        yield "dreambench", "dreambench", {"ratings": config["dreambench"]["ratings"]}, ("dreambench", "ratings")
    if any("path" in step_settings("score_dreambench", config, scorer=name) for name in rated):
        yield "dreambench", "dreambench", {"samples": config["dreambench"]["samples"]}, ("dreambench", "samples")
    for name in select["sources"]:
        if name in config["released"]:
            yield "released", "released", {"path": config["released"][name]}, ("sources", name)
        else:
            source = config["sources"][name]
            yield f"sources.{name}.options", f"sources {source['engine']}", source["options"], ("sources", name)
    backbones = [backbone_of(config, name) for name in select["scorers"]]
    backbones += [training_of(config, name)["backbone"] for name in select["ablations"]]
    for backbone in dict.fromkeys(name for name in backbones if name):
        entry = config["backbones"][backbone]
        yield f"backbones.{backbone}", f"backbones {entry['kind']}", entry, ("backbones", backbone)
    for name in select["scorers"]:
        entry = config["scorers"][name]
        yield f"scorers.{name}", f"scorers {entry['kind']}", entry, ("scorers", name)


def _uses(key: str, purpose: str, entry: Mapping[str, Any], member: tuple[str, str]) -> Iterator[Use]:
    for name, value in entry.items():
        own = (f"{key}.{name}", f"{purpose} {name}")
        if isinstance(value, Mapping):
            yield from _uses(*own, value, member)
        elif isinstance(value, str) and value.startswith(FOLDER):
            download, _, below = value.removeprefix(FOLDER).partition("/")
            yield Use(download, *own, below, entry, member)
        elif isinstance(value, str) and value and name in _PATHS and not is_hub_model(member[0], name, value):
            yield Use("", *own, value, entry, member)
