"""The files that a training writes: those declared for a head, or a report on why it stopped."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nearid.config.settings.heads import TrainHead
from nearid.errors import UserError
from nearid.heads.checkpoints import Checkpoints
from nearid.heads.finished import FILES, versions
from nearid.heads.inputs import TrainingData
from nearid.heads.tuples import PADDING, Tuples
from nearid.io.files import read_json, replacing, write_json, write_text
from nearid.io.hashing import hash_json
from nearid.layout import Layout

logger = logging.getLogger(__name__)


def inputs_of(
    layout: Layout, source: TrainingData, settings: TrainHead, vision_config: Mapping[str, Any], code: str, ranked: bool
) -> str:
    """Hash of settings, tokens, samples and code: a head is trained again if any of them changes.

    Args:
        ranked: whether its objective reads severities.
    """
    samples = [
        [part.name, part.rows.tolist(), part.ids.tolist(), part.severity.tolist() if ranked else None]
        for part in source.mix.samples
    ]
    return hash_json([dict(settings.given), vision_config, _shards(layout, source), samples, code])


def key_of(inputs: str) -> str:
    """Hash of everything that must be unchanged to resume a half-trained head; the number of ranks may change."""
    return hash_json([inputs, versions()])


def is_current(layout: Layout, settings: TrainHead, inputs: str) -> bool:
    """Whether all declared files of a head exist and were made from these inputs."""
    name = settings.ablation
    files = [layout.head_file(name, file) for file in FILES]
    if settings.training.keep_every_steps:
        files.append(layout.head_file(name, "timelapse.safetensors"))
    return all(file.is_file() for file in files) and read_json(files[3]).get("inputs_hash") == inputs


def publish(
    layout: Layout,
    source: TrainingData,
    settings: TrainHead,
    vision_config: Mapping[str, Any],
    checkpoints: Checkpoints,
    inputs: str,
    folder: Path,
) -> None:
    """Write the files of a head from its last state to `folder`."""
    state = checkpoints.restore()
    assert state is not None  # the last step always leaves one
    with replacing(folder / "head.safetensors") as private:
        save_file(state["head"], private)
    if settings.training.keep_every_steps:
        with replacing(folder / "timelapse.safetensors") as private:
            save_file(checkpoints.kept(), private)
    config = {"settings": dict(settings.given), "vision_config": vision_config, "deepspeed": state["deepspeed"]}
    write_json(folder / "config.json", config)
    log = checkpoints.log()
    write_text(folder / "log.jsonl", log)
    waited = _waited(log)
    logger.info("%s: waited for data in %.1f%% of the time", settings.ablation, 100 * waited)
    provenance = {
        "inputs_hash": inputs,
        "settings_hash": hash_json(dict(settings.given)),
        "seed": settings.seed,
        "token_shards": _shards(layout, source),
        "samples": {part.name: len(part.rows) for part in source.mix.samples},
        "empty_distractor_slots": source.empty,
        "gaps": source.gaps,
        "left_out_for_gaps": source.left_out,
        "steps": state["step"],
        "resumed_after_step": state["resumed_after"],
        "trained_with": state["trained_with"],
        "seconds": round(state["seconds"], 1),
        "waited_for_data": waited,
        "machine": f"{platform.machine()}, {state['machine']}, {torch.get_num_threads()} threads",
        "versions": versions() | {"python": platform.python_version()},
    }
    write_json(folder / "provenance.json", provenance)


def report_stop(
    layout: Layout,
    source: TrainingData,
    settings: TrainHead,
    samples: Tuples,
    step: tuple[int, int],
    values: Mapping[str, float],
    what: str,
) -> UserError:
    """Write `stopped.json` beside a head whose `what` (loss, gradient) is not finite; returns the error to raise.

    Args:
        samples: the whole batch, over all ranks.
        step: the current one, and their total number.
        values: what the log would have shown.
    """
    path = layout.head_file(settings.ablation, "stopped.json")
    epoch, batch = divmod(step[0] - 1, source.mix.steps_per_epoch(settings.training.batch_size))
    rows = [
        {"id": int(id), "images": [source.pool.name(place) if place != PADDING else None for place in images]}
        for id, images in zip(samples.ids, samples.images, strict=True)
    ]
    shown = {name: str(value) for name, value in values.items()}
    report = {"not_finite": what, "step": step[0], "epoch": epoch, "batch": batch, "values": shown, "samples": rows}
    write_json(path, report)
    return UserError(
        f"{settings.ablation}, step {step[0]} of {step[1]} (epoch {epoch}, batch {batch}),"
        f" ids {samples.ids.tolist()}; its images are in {path}",
        f"{what} not finite: {', '.join(f'{name} {value}' for name, value in values.items())}",
        "a finite loss and gradient; the state before this step is kept",
        "lower the learning rate, or look for damaged tokens of these ids",
    )


def _waited(log: str) -> float:
    """The fraction of the steps' time that was spent waiting for data."""
    steps = [json.loads(line) for line in log.splitlines()]
    waited, worked = (sum(step[name] for step in steps) for name in ("wait_s", "step_s"))
    return round(waited / (waited + worked), 4)


def _shards(layout: Layout, source: TrainingData) -> dict[str, str]:
    return {str(path.relative_to(layout.root)): key for path, key in source.pool.content_keys().items()}
