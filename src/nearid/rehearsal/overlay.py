"""The overlay that turns a config into its rehearsal: only sizes, each derived from the config's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nearid.config.counts import count_views
from nearid.config.downloads import FOLDER
from nearid.config.painting import planned_parts
from nearid.config.sizes import shown_split
from nearid.config.steps import step_settings
from nearid.config.types import Config

Overlay = dict[str, Any]

# Enough for every figure, for a batch with distractors, and for both of two shards.
TRAIN, VAL, TEST = 15, 3, 6
MTG = {"train": 12, "test": 10}
SHARDS = 2
MIRROR = "mirror"
"""Folder that stands in for the hub, in a rehearsal's own folder."""
CHECKOUT = f"{MIRROR}/mind_the_glitch"
"""Where VSM's code is, if a config has it outside the downloads."""
STEPS, EPOCHS, BATCH = 2, 2, 4
EVERY = 8
"""Steps between validations, checkpoints and kept heads: several fit in a training of about thirty steps."""
SHRINK_PX, GRID_PX, LEAST_PX = 8, 16, 64
"""Working sizes are divided by `SHRINK_PX` and rounded to multiples of `GRID_PX`, which every pipeline accepts."""


def split_sizes(config: Config) -> dict[str, int]:
    """Identities of each split in a rehearsal of `config`; a split without identities stays empty."""
    splits = config["dataset"]["splits"]
    everything = splits["test"] == "all"
    test = TEST if everything else min(TEST, splits["test"])
    return {"train": 0 if everything else TRAIN, "val": min(VAL, splits["val"]), "test": test}


def shrink(config: Config, name: str) -> Overlay:
    """The overlay on `config` (checked and complete) for a run called `name`.

    Precisions, objectives, mixes, scorers, tables and figures are not changed: they are what is rehearsed.
    """
    dataset = _shrink_dataset(config)
    return {
        "name": name,
        "results_dir": "results",
        "protect": False,
        "stand_ins": True,
        "mirror": MIRROR,
        "dataset": dataset,
        "sources": _shrink_sources(config, dataset),
        "backbones": {name: {"batch_size": min(8, entry["batch_size"])} for name, entry in config["backbones"].items()},
        "training": _shrink_training(config["training"]),
        "ablations": {
            name: {"training": _shrink_training(entry["training"])} for name, entry in config["ablations"].items()
        },
        "scorers": {name: {"package": CHECKOUT} for name in foreign_checkouts(config)},
        "paper": {"figures": _shrink_figures(config)},
    }


def foreign_checkouts(config: Config) -> list[str]:
    """Scorers whose code is neither ours nor a download: the real code could not run with the stand-in's weights."""
    packages = {name: entry.get("package", "") for name, entry in config["scorers"].items()}
    return [name for name, package in packages.items() if package and not package.startswith(FOLDER)]


def _shrink_dataset(config: Config) -> Overlay:
    kind, sizes = config["dataset"]["kind"], split_sizes(config)
    small: Overlay = {"shards": min(SHARDS, config["dataset"]["shards"])}
    # A split that takes all identities still does.
    small["splits"] = {
        name: sizes[name] for name in ("val", "test") if config["dataset"]["splits"].get(name, 0) != "all"
    }
    options = config["dataset"].get(kind, {})
    if kind == "rendered":
        small[kind] = {
            "identities": min(sum(sizes.values()), options["identities"]),
            "size_px": min(LEAST_PX, options["size_px"]),
            "mtg_train": min(MTG["train"], options["mtg_train"]),
            "mtg_test": min(MTG["test"], options["mtg_test"]),
        }
    elif kind == "image_folder":
        small[kind] = {"size_px": min(2 * LEAST_PX, options["size_px"])}
    else:
        # Positions and counts refer to the whole release.
        small[kind] = {
            key: value for key, value in (("official_splits", ""), ("check_counts", False)) if key in options
        }
    return small


def _shrink_sources(config: Config, dataset: Overlay) -> Overlay:
    sources = {
        name: {
            "working_px": max(LEAST_PX, round(entry["working_px"] / SHRINK_PX / GRID_PX) * GRID_PX),
            "seconds_per_image": 0,
            "options": {key: min(STEPS, value) for key, value in entry["options"].items() if _is_count(key)},
        }
        for name, entry in config["sources"].items()
    }
    # One of the sources that the whole run paints in parts rehearses that.
    cut = [name for name in config["select"]["sources"] if planned_parts(config, name) > 1]
    for name in cut[:1]:
        splits = step_settings("inpaint_shard", config, source=name)["splits"]
        images = sum(split_sizes(config)[split] for split in splits) * count_views(config) / dataset["shards"]
        sources[name]["seconds_per_image"] = 60 * config["painting_minutes"] * 2 / math.ceil(images)
    return sources


def _is_count(option: str) -> bool:
    return option.endswith("steps") or option == "batch_size"


def _shrink_training(training: Mapping[str, Any]) -> Overlay:
    """Smaller training settings, for the shared section, or for an ablation's own, which has only some of the keys."""
    most = {"epochs": EPOCHS, "batch_size": BATCH, "warmup_steps": BATCH}
    most |= dict.fromkeys(("validate_every_steps", "checkpoint_every_steps", "keep_every_steps"), EVERY)
    return {key: min(largest, training[key]) for key, largest in most.items() if key in training}


def _shrink_figures(config: Config) -> Overlay:
    sizes = split_sizes(config)
    return {
        name: {"identities": min(figure["identities"], sizes[shown_split(figure) or figure["split"]] or sizes["test"])}
        for name, figure in config["paper"]["figures"].items()
    }
