"""Which heads train together, and which scorers are scored together: those that read the same tokens, once for all."""

from __future__ import annotations

import json
from typing import Any

from nearid.config.settings.heads import TrainHead
from nearid.config.steps import backbone_of, benchmarks_of, step_settings, training_of
from nearid.config.types import Config

TOKEN_READERS = ("encoder", "head")
"""Kinds of scorers that read a backbone's tokens and may be scored together."""
# Settings of the section `training` that decide which images are in which batch; the others may differ in a pack.
FEED_TRAINING = (
    *("epochs", "batch_size", "last_batch", "mask_probability", "masks", "distractors"),
    *("tokens", "augmentation", "augmented_draws"),
)


def packs(config: Config) -> list[list[str]]:
    """The selected ablations that train together.

    Members share mix, seed, backbone and all else that determines their batches; `training.pack` limits how many there
    are. A head that shares them with no other is a pack of one.
    """
    alike: dict[str, list[str]] = {}
    for ablation in config["select"]["ablations"]:
        settings = TrainHead.parse(step_settings("train_head", config, ablation=ablation))
        size = training_of(config, ablation)["pack"]
        alike.setdefault(json.dumps([size, feed(settings)], sort_keys=True), []).append(ablation)
    found: list[list[str]] = []
    for key, members in alike.items():
        size = json.loads(key)[0]
        step: int = {"all": len(members), "none": 1}[size] if isinstance(size, str) else size
        found += [members[start : start + step] for start in range(0, len(members), step)]
    return found


def trained_along(config: Config, ablation: str) -> list[dict[str, Any]]:
    """Settings of `train_head` for the other heads that train together with `ablation`."""
    pack = next((members for members in packs(config) if ablation in members), [])
    return [step_settings("train_head", config, ablation=name) for name in pack if name != ablation]


def feed(settings: TrainHead) -> dict[str, Any]:
    """The settings that determine the batches."""
    given, training = settings.given, settings.training.given
    read = {key: training[key] for key in FEED_TRAINING if key in training}
    return {key: given[key] for key in ("mix", "seed", "backbone", "backbone_id")} | {"training": read}


def scored_along(config: Config, scorer: str, benchmark: str) -> dict[str, Any]:
    """Entries, by id, of the other selected scorers that read the same tokens as `scorer` in a benchmark."""

    def reads(name: str) -> list[Any] | None:
        kind = config["scorers"][name]["kind"]
        of_tokens = kind in TOKEN_READERS and benchmark in benchmarks_of(config, name)
        return [backbone_of(config, name)] if of_tokens else None

    own = reads(scorer)
    others = [name for name in config["select"]["scorers"] if name != scorer and own and reads(name) == own]
    step = f"score_{benchmark}"
    return {name: step_settings(step, config, scorer=name)["scorer"] for name in others}
