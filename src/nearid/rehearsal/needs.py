"""Chooses the stand-in of each download of a config by what the config uses it for."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from nearid.config.downloads import FOLDER
from nearid.config.types import Config
from nearid.config.uses import Use
from nearid.errors import UserError
from nearid.rehearsal.overlay import MTG, split_sizes


def save_stand_in(uses: list[Use], config: Config, folder: Path) -> None:
    """Write the stand-in that all `uses` of one download need to `folder`, in the released layout.

    Raises:
        UserError: the layout of the download is not known here.
    """
    for purpose in dict.fromkeys(use.purpose for use in uses):
        alike = [use for use in uses if use.purpose == purpose]
        recipe = _RECIPES.get(purpose)
        if recipe is None:
            raise UserError(
                f"config, key {alike[0].key}",
                f"{FOLDER}{alike[0].download}, whose layout is unknown",
                f"one of {', '.join(sorted(_RECIPES))}",
                f"make a small folder like it and name it: --stand-in {alike[0].download}=FOLDER",
            )
        recipe(folder, alike, config)


def _by(module: str, function: str, **settings: Any) -> Callable[[Path, list[Use], Config], None]:
    """A recipe that needs only the folder; its module is imported when it is used."""

    def save(folder: Path, uses: list[Use], config: Config) -> None:
        getattr(import_module(f"nearid.rehearsal.{module}"), function)(folder, **settings)

    return save


def _syncd(folder: Path, uses: list[Use], config: Config) -> None:
    from nearid.rehearsal.datasets import save_syncd

    # Whether the release has the texts is not known; if a config has Cap3D's, the stand-in has none.
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

    # `A3B` is the number of active parameters, which only names of mixtures of experts have.
    repository = config["downloads"][uses[0].download]["hub"]
    billions = re.search(r"(\d+)B", repository)
    save_judge(folder, mixture=bool(re.search(r"-A\d+B", repository)), seed=int(billions[1]) if billions else 0)


def _words(folder: Path, uses: list[Use], config: Config) -> None:
    from nearid.rehearsal.judges import save_words

    for below in {use.below for use in uses}:
        save_words(folder / below)


def _ratings(folder: Path, uses: list[Use], config: Config) -> None:
    from nearid.rehearsal.ratings import save_ratings

    for use in uses:
        # A release's own ratings are written together with the people's.
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
    "scorers head path": _by("encoders", "save_released_head"),
    "scorers vsm model": _by("matcher", "save_matcher"),
    "scorers vsm package": _by("matcher", "save_checkout"),
    "scorers vsm hub CompVis/cleandift": _by("matcher", "save_features"),
    "scorers vsm hub stabilityai/stable-diffusion-2-1": _by("pipelines", "save_stable_diffusion"),
    "scorers vlm_judge model": _judge,
    "scorers vlm_judge prompt": _words,
    "scorers ratings ratings": _ratings,
}
