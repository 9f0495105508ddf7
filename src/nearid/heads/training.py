"""Training one pooling head on frozen tokens (paper section 4.1; spec data.md 3, losses.md)."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from nearid.cluster.ranks import Ranks, join
from nearid.errors import UserError
from nearid.heads import objectives
from nearid.heads.checkpoints import Checkpoints, lock
from nearid.heads.engine import Engine, deepspeed_config
from nearid.heads.inputs import Batch, TokenPool, load_batches, open_mix
from nearid.heads.map_head import MAPHead
from nearid.heads.tuples import Mix, Tuples
from nearid.io.files import replacing, write_json, write_text
from nearid.io.hashing import hash_json
from nearid.io.progress import track
from nearid.layout import Layout
from nearid.tokens import load_backbone

VERSIONS = ("torch", "deepspeed", "transformers", "numpy", "safetensors")


def train(settings: Mapping[str, Any], layout: Layout, code: str = "") -> None:
    """Train the head of one ablation, from where a killed try left it, and write its folder.

    On one machine and thread count the same settings and tokens give the same bytes, killed or not.

    Args:
        settings: of the step `train_head` (docs/architecture.md).
        layout: where data and tokens lie and the head goes.
        code: fingerprint of this code; a killed try of other code is not gone on from.

    Raises:
        UserError: bad data or settings (see `open_mix`, `Mix`, `objectives.create`), a loss that is not finite, or a
            second training of the same head.
    """
    started = time.monotonic()
    folder = layout.head(settings["ablation"])
    training = settings["training"]
    objective = objectives.create(settings["objective"], **settings["params"])
    if objective.reads_padding:
        raise UserError(
            f"ablations.{settings['ablation']}.params",
            "padding slots in the pools",
            "padding excluded: token shards hold no padding images",
            "leave the parameter `padding` out",
        )
    pool, mix, empty = open_mix(layout, settings)
    backbone = load_backbone(settings["backbone"])
    pool.check_backbone(backbone.weights_hash)
    ranks = join()
    with lock(folder) if ranks.rank == 0 else nullcontext():
        config = {
            "settings": dict(settings),
            "vision_config": backbone.config.to_dict(),
            "deepspeed": deepspeed_config(training, ranks),
        }
        shards = {str(path.relative_to(layout.root)): key for path, key in pool.content_keys().items()}
        versions = {name: version(name) for name in VERSIONS}
        steps = training["epochs"] * mix.steps_per_epoch(training["batch_size"])
        key = hash_json([config, shards, versions, steps, code])
        if ranks.rank > 0:
            dist.barrier()  # until rank 0 has swept stale progress
        checkpoints = Checkpoints(folder, key, writer=ranks.rank == 0)
        if ranks.rank == 0:
            dist.barrier()
        before = checkpoints.restore()
        done = before["step"] if before else 0
        head = MAPHead(backbone.config)
        head.load_state_dict(backbone.head_state())
        engine = Engine(head, training, steps, ranks, before)
        _learn(engine, objective, pool, mix, checkpoints, done)
        if ranks.rank > 0:
            return
        provenance = {
            "settings_hash": hash_json(dict(settings)),
            "seed": settings["seed"],
            "token_shards": shards,
            "samples": {part.name: len(part.rows) for part in mix.samples},
            "empty_distractor_slots": empty,
            "steps": steps,
            "resumed_after_step": done,
            "seconds": round(time.monotonic() - started, 1),
            "machine": f"{platform.machine()}, {ranks.size} x {engine.device}, {torch.get_num_threads()} threads",
            "versions": versions | {"python": platform.python_version()},
        }
        _write_results(folder, engine, checkpoints, config, provenance)


def _write_results(
    folder: Path, engine: Engine, checkpoints: Checkpoints, config: dict[str, Any], provenance: dict[str, Any]
) -> None:
    with replacing(folder / "head.safetensors") as private:
        save_file(engine.weights(), private)
    if engine.training["keep_every_steps"]:
        with replacing(folder / "timelapse.safetensors") as private:
            save_file(checkpoints.kept(), private)
    write_json(folder / "config.json", config)
    write_text(folder / "log.jsonl", checkpoints.log())
    write_json(folder / "provenance.json", provenance)
    checkpoints.clear()


def _learn(
    engine: Engine, objective: objectives.Terms, pool: TokenPool, mix: Mix, checkpoints: Checkpoints, done: int
) -> None:
    training, steps, ranks = engine.training, engine.steps, engine.ranks
    save_every, keep_every = training["checkpoint_every_steps"], training["keep_every_steps"]
    local = training["batch_size"] // ranks.size
    batches = load_batches(pool, _tuples(mix, training["batch_size"], ranks, done, steps), local)
    if keep_every and done == 0:
        checkpoints.keep(0, engine.weights())
    clock = time.monotonic()
    for step, batch in enumerate(track(batches, "train", total=steps, done=done), start=done + 1):
        ready = time.monotonic()
        loss, terms = _evaluate(engine, objective, batch)
        values = _average({"loss": loss, **terms}, ranks)
        if not all(np.isfinite(value) for value in values.values()):
            raise UserError(
                f"training step {step} of {steps}, ids {batch.tuples.ids.tolist()}",
                ", ".join(f"{name} {value}" for name, value in values.items()),
                "a finite loss",
                "lower the learning rate, or look for damaged tokens of these ids",
            )
        norm, rate = engine.learn(loss)
        record = {"step": step, **values, "learning_rate": rate, "gradient_norm": norm}
        seconds = {"wait_s": ready - clock, "step_s": time.monotonic() - ready}
        checkpoints.append(record | {name: round(value, 5) for name, value in seconds.items()})
        if keep_every and (step % keep_every == 0 or step == steps):
            checkpoints.keep(step, engine.weights())
        if step % save_every == 0 or step == steps:
            checkpoints.save(step, {"step": step, **engine.state()})
        clock = time.monotonic()


def _tuples(mix: Mix, batch_size: int, ranks: Ranks, done: int, steps: int) -> Iterator[Tuples]:
    """The part of each step's batch that falls to this rank, from `done` on."""
    per_epoch, local = mix.steps_per_epoch(batch_size), batch_size // ranks.size
    for step in range(done, steps):
        epoch, number = divmod(step, per_epoch)
        if number == 0 or step == done:
            tuples = mix.epoch(epoch)
        start = number * batch_size + ranks.rank * local
        yield tuples[start : start + local]


def _evaluate(engine: Engine, objective: objectives.Terms, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    tokens = torch.from_numpy(batch.tokens).to(engine.device)
    slots = torch.from_numpy(batch.slots).to(engine.device)
    valid = torch.from_numpy(batch.tuples.valid).to(engine.device)
    # An image that fills several slots is encoded once; index_select's gradient is summed in a fixed order.
    vectors = engine.embed(tokens).index_select(0, slots.flatten()).unflatten(0, slots.shape)
    return objective.parts(
        vectors[:, 0],
        vectors[:, 1:3],
        vectors[:, 3:],
        valid[:, 1:3],
        valid[:, 3:],
        picks=torch.from_numpy(batch.tuples.picks).to(engine.device),
    )


def _average(values: Mapping[str, Tensor], ranks: Ranks) -> dict[str, float]:
    stacked = torch.stack([value.detach() for value in values.values()])
    if ranks.size > 1:
        dist.all_reduce(stacked)
    return dict(zip(values, (stacked / ranks.size).tolist(), strict=True))
