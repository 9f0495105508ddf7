"""Which stand-in each download of a config gets: that follows from what the config uses it for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from nearid.config.downloads import FOLDER
from nearid.config.steps import backbone_of, benchmarks_of, step_settings, training_of
from nearid.errors import UserError
from nearid.rehearsal.overlay import MTG, split_sizes

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Use:
    """A config key whose value lies below `resources/<id>`.

    Attributes:
        download: the id.
        key: of the config, for people.
        purpose: what the value is to its owner, e.g. `backbones siglip path` or `sources flux_fill model`.
        below: path inside the download.
        owner: the entry that has the key.
    """

    download: str
    key: str
    purpose: str
    below: str
    owner: Mapping[str, Any]


def find_uses(config: Config) -> list[Use]:
    """Every use of a download by what `config` selects."""
    return [use for entry in _entries(config) for use in _uses(*entry)]


def save_stand_in(uses: list[Use], config: Config, folder: Path) -> None:
    """Write the stand-in that all `uses` of one download ask for to `folder`, in the released layout.

    Raises:
        UserError: nothing here knows what the download looks like.
    """
    for purpose in dict.fromkeys(use.purpose for use in uses):
        alike = [use for use in uses if use.purpose == purpose]
        recipe = _RECIPES.get(purpose)
        if recipe is None:
            raise UserError(
                f"config, key {alike[0].key}",
                f"{FOLDER}{alike[0].download}, of which nobody knows what it looks like",
                f"one of {', '.join(sorted(_RECIPES))}",
                f"make a small folder like it and name it: --stand-in {alike[0].download}=FOLDER",
            )
        recipe(folder, alike, config)


def _entries(config: Config) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Key, purpose and entry of everything selected that may name a download."""
    select, kind = config["select"], config["dataset"]["kind"]
    yield f"dataset.{kind}", f"dataset {kind}", config["dataset"].get(kind, {})
    if "dreambench" in select["benchmarks"]:
        yield "dreambench", "dreambench", {"ratings": config["dreambench"]["ratings"]}
        rated = [name for name in select["scorers"] if "dreambench" in benchmarks_of(config, name)]
        if any("path" in step_settings("score_dreambench", config, scorer=name) for name in rated):
            yield "dreambench", "dreambench", {"samples": config["dreambench"]["samples"]}
    for name in select["sources"]:
        if name in config["released"]:
            yield "released", "released", {"path": config["released"][name]}
        else:
            source = config["sources"][name]
            yield f"sources.{name}.options", f"sources {source['engine']}", source["options"]
    backbones = [backbone_of(config, name) for name in select["scorers"]]
    backbones += [training_of(config, name)["backbone"] for name in select["ablations"]]
    for backbone in dict.fromkeys(name for name in backbones if name):
        entry = config["backbones"][backbone]
        yield f"backbones.{backbone}", f"backbones {entry['kind']}", entry
    for name in select["scorers"]:
        entry = config["scorers"][name]
        yield f"scorers.{name}", f"scorers {entry['kind']}", entry


def _uses(key: str, purpose: str, entry: Mapping[str, Any]) -> Iterator[Use]:
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield from _uses(f"{key}.{name}", f"{purpose} {name}", value)
        elif isinstance(value, str) and value.startswith(FOLDER):
            download, _, below = value.removeprefix(FOLDER).partition("/")
            yield Use(download, f"{key}.{name}", f"{purpose} {name}", below, entry)


def _by(module: str, function: str, **settings: Any) -> Callable[[Path, list[Use], Config], None]:
    """A recipe that needs nothing but the folder; its module is imported when it is used."""

    def save(folder: Path, uses: list[Use], config: Config) -> None:
        getattr(import_module(f"nearid.rehearsal.{module}"), function)(folder, **settings)

    return save


def _syncd(folder: Path, uses: list[Use], config: Config) -> None:
    from nearid.rehearsal.datasets import save_syncd

    # Whether the release has the texts is not known; where a config has Cap3D's, it is taken to have none.
    save_syncd(folder, split_sizes(config), with_texts=not uses[0].owner["captions"])


def _captions(folder: Path, uses: list[Use], config: Config) -> None:
    from nearid.rehearsal.datasets import save_captions

    save_captions(folder / uses[0].below, split_sizes(config))


def _nearid(folder: Path, uses: list[Use], config: Config) -> None:
    from nearid.rehearsal.datasets import save_nearid

    save_nearid(folder, split_sizes(config))


def _released(folder: Path, uses: list[Use], config: Config) -> None:
    from nearid.rehearsal.datasets import save_distractors

    save_distractors(folder, split_sizes(config), 1 + sorted(config["downloads"]).index(uses[0].download))


def _mtg(folder: Path, uses: list[Use], config: Config) -> None:
    from nearid.rehearsal.datasets import save_mtg

    save_mtg(folder, MTG)


def _lora(folder: Path, uses: list[Use], config: Config) -> None:
    from nearid.rehearsal.pipelines import save_qwen_lora

    save_qwen_lora(folder, sorted({use.owner["lora_file"] for use in uses}))


def _judge(folder: Path, uses: list[Use], config: Config) -> None:
    from nearid.rehearsal.judges import save_judge

    # `A3B`: so many parameters are active, which only a mixture of experts says of itself.
    repository = config["downloads"][uses[0].download]["hub"]
    billions = re.search(r"(\d+)B", repository)
    save_judge(folder, mixture=bool(re.search(r"-A\d+B", repository)), seed=int(billions[1]) if billions else 0)


def _ratings(folder: Path, uses: list[Use], config: Config) -> None:
    from nearid.rehearsal.ratings import save_ratings

    for use in uses:
        # Those of the release are there with the people's.
        if not (folder / use.below).is_dir():
            save_ratings(folder / use.below, use.below)


_RECIPES: dict[str, Callable[[Path, list[Use], Config], None]] = {
    "dataset syncd path": _syncd,
    "dataset syncd captions": _captions,
    "dataset syncd mtg": _mtg,
    "dataset nearid path": _nearid,
    "dataset nearid mtg": _mtg,
    "released path": _released,
    "dreambench ratings": _by("ratings", "save_all_ratings"),
    "dreambench samples": _by("ratings", "save_samples"),
    "sources flux_fill model": _by("pipelines", "save_flux"),
    "sources flux_canny model": _by("pipelines", "save_flux", canny=True),
    "sources sdxl_inpaint model": _by("pipelines", "save_sdxl"),
    "sources powerpaint model": _by("pipelines", "save_powerpaint"),
    "sources qwen_controlnet model": _by("pipelines", "save_qwen_image"),
    "sources qwen_controlnet controlnet": _by("pipelines", "save_qwen_controlnet"),
    "sources qwen_controlnet lora": _lora,
    "backbones siglip path": _by("encoders", "save_siglip"),
    "backbones clip path": _by("encoders", "save_clip"),
    "backbones dinov2 path": _by("encoders", "save_dinov2"),
    "backbones auto path": _by("encoders", "save_vit"),
    "scorers vsm model": _by("matcher", "save_matcher"),
    "scorers vsm package": _by("matcher", "save_checkout"),
    "scorers vsm hub CompVis/cleandift": _by("matcher", "save_features"),
    "scorers vsm hub stabilityai/stable-diffusion-2-1": _by("pipelines", "save_stable_diffusion"),
    "scorers vlm_judge model": _judge,
    "scorers ratings ratings": _ratings,
}
