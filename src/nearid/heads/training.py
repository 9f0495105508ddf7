"""Training pooling heads on frozen tokens, alone or as a pack (paper 4.1; docs/protocol.md 3, docs/losses.md)."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from nearid.config.packs import feed
from nearid.config.settings.heads import TrainHead, TrainingSettings
from nearid.distributed.ranks import Ranks, join
from nearid.distributed.signals import Warnings
from nearid.errors import UserError
from nearid.heads import finished, objectives, packs
from nearid.heads.checkpoints import Checkpoints
from nearid.heads.engine import Engine, Learners, deepspeed_config
from nearid.heads.feeds import TokenBatch, load_batches
from nearid.heads.inputs import open_mix
from nearid.heads.map_head import MAPHead
from nearid.heads.packs import PackedHead
from nearid.heads.results import inputs_of, is_current, key_of, publish, report_stop
from nearid.heads.tuples import MixSampler, Tuples
from nearid.heads.validation import Validation
from nearid.io.locks import lock
from nearid.io.progress import track
from nearid.layout import Layout
from nearid.tokens import load_backbone
from nearid.tokens.backbones import Backbone

logger = logging.getLogger(__name__)
TRAINS = "trains this head"


def train(settings: TrainHead, layout: Layout, code: str = "", along: Sequence[tuple[TrainHead, str]] = ()) -> None:
    """Train the head of one ablation, from where a killed run or another head's job left it, and write its folder.

    On one machine and thread count the same settings and tokens give the same bytes, killed or not, packed or not.

    Args:
        settings: of the head.
        layout: where data and tokens are and the head goes.
        code: fingerprint of this code; a killed run of other code is not resumed.
        along: settings and code of the other heads of the pack. Those that are out of date are trained too, and wait
            for their own jobs to take them; a head whose loss is not finite stops without the others.

    Raises:
        UserError: bad data or settings (see `open_mix`, `MixSampler`, `objectives.create`), a loss or gradient of this
            head that is not finite, a head of the pack that draws other batches, or a second training of the same head.
    """
    ranks = join()
    names = sorted([settings.ablation, *(other.ablation for other, _ in along)])
    # A job that had to wait finds its head finished.
    turn = (
        lock(layout.pack(names[0]), "trains this pack of heads", wait=True)
        if along and ranks.rank == 0
        else nullcontext()
    )
    # A job that a launcher started twice must fail, not wait for itself and then train a second time.
    alone = lock(layout.pack(f"{settings.ablation}.job"), TRAINS) if ranks.rank == 0 else nullcontext()
    with alone, turn, Warnings(ranks) as warnings, _Pack([(settings, code), *along], layout, ranks) as pack:
        pack.train(warnings)
        if ranks.rank > 0:
            return
        own = pack.members[0]
        if own.stopped:
            raise own.stopped
        pack.write_waiting()
        folder = layout.head(settings.ablation)
        publish(layout, pack.source, settings, pack.vision_config, own.checkpoints, pack.inputs[0], folder)
        (folder / "stopped.json").unlink(missing_ok=True)
        shutil.rmtree(layout.waiting_head(settings.ablation), ignore_errors=True)
        own.checkpoints.clear()


def is_trained(settings: TrainHead, layout: Layout, code: str = "") -> bool:
    """Whether a head exists and is made from today's data, tokens, settings and code."""
    pack = _Pack([(settings, code)], layout, Ranks(0, 0, 1))
    return is_current(layout, settings, pack.inputs[0])


class _Pack:
    """A head and the out-of-date others of its pack: inputs opened, folders locked, states restored."""

    def __init__(self, wanted: Sequence[tuple[TrainHead, str]], layout: Layout, ranks: Ranks) -> None:
        first = wanted[0][0]
        for other, _ in wanted:
            if feed(other) != feed(first):
                raise UserError(
                    f"pack of {first.ablation}",
                    f"{other.ablation} draws other batches: {feed(other)}",
                    f"one mix, seed, backbone and batch for all: {feed(first)}",
                    "put it into a pack of its own",
                )
        terms = [objectives.create(one.objective, **one.params) for one, _ in wanted]
        _check_ranks(first.training, ranks)
        # On every start `open_mix` checks that no validation or test identity is among the training rows.
        self._backbone = load_backbone(first.backbone)
        self.source = open_mix(layout, first, self._backbone, any(objective.reads_severity for objective in terms))
        self._validation = Validation(self.source.pool, self.source.held_out)
        self._padding = _encode_padding(self._backbone) if any(term.reads_padding for term in terms) else None
        self.layout, self.ranks = layout, ranks
        self.vision_config = self._backbone.config.to_dict()
        self.steps = first.training.epochs * self.source.mix.steps_per_epoch(first.training.batch_size)
        self.inputs = [
            inputs_of(layout, self.source, one, self.vision_config, code, objective.reads_severity)
            for (one, code), objective in zip(wanted, terms, strict=True)
        ]
        self._wanted = [
            (one, objective, key_of(inputs))
            for place, ((one, _), objective, inputs) in enumerate(zip(wanted, terms, self.inputs, strict=True))
            if place == 0 or not is_current(layout, one, inputs)
        ]
        self._made_of = {
            one.ablation: (inputs, finished.ticket_of(layout, one, code))
            for (one, code), inputs in zip(wanted[1:], self.inputs[1:], strict=True)
        }
        self._locks = ExitStack()
        self.members: list[PackedHead] = []

    def __enter__(self) -> _Pack:
        folders = [self.layout.head(one.ablation) for one, _, _ in self._wanted]
        if self.ranks.rank == 0:
            for folder in folders:
                self._locks.enter_context(lock(folder, TRAINS))
        else:
            dist.barrier()  # until rank 0 has swept stale progress
        keys = [key for _, _, key in self._wanted]
        # Entered after the locks, so that it has ended before they are released.
        thread = self._locks.enter_context(ThreadPoolExecutor(1, "states"))
        progress = [Checkpoints(*pair, self.ranks.rank == 0, thread) for pair in zip(folders, keys, strict=True)]
        if self.ranks.rank == 0 and self.ranks.size > 1:
            dist.barrier()
        for (settings, objective, _), checkpoints in zip(self._wanted, progress, strict=True):
            self.members.append(self._resume(settings, objective, checkpoints))
        return self

    def __exit__(self, *_: object) -> None:
        self._locks.close()

    def train(self, warnings: Warnings) -> None:
        """Take the remaining steps, none if the first head is finished; on a warning all states are saved."""
        if self.members[0].done == self.steps:
            return
        waiting = [member for member in self.members if member.done < self.steps]
        self._learners, device = Learners([member.engine for member in waiting]), waiting[0].engine.device
        self._padding = None if self._padding is None else self._padding.to(device)
        started_at = min(member.done for member in waiting)
        for member in waiting:
            if member.training.keep_every_steps and member.done == 0:
                member.checkpoints.keep(0, member.engine.weights())
        training = self.members[0].training
        tuples = _tuples(self.source.mix, training.batch_size, self.ranks, started_at, self.steps)
        batches = load_batches(self.source.pool, tuples, training.batch_size // self.ranks.size, device=device)
        clock = time.monotonic()
        label = "train" if len(waiting) == 1 else f"train {len(waiting)} heads"
        for step, batch in enumerate(track(batches, label, self.steps, started_at), start=started_at + 1):
            ready = time.monotonic()
            # Members may have been killed at different steps: one that is ahead waits.
            active = [member for member in waiting if member.done == step - 1 and not member.stopped]
            records = self._step(active, step, batch) if active else {}
            seconds = {"wait_s": ready - clock, "step_s": time.monotonic() - ready}
            speed = batch.tokens.shape[0] * batch.tokens.shape[1] / sum(seconds.values())
            times = {name: round(value, 5) for name, value in seconds.items()} | {"tokens_per_s": round(speed)}
            learned = [member for member in active if member.name in records]
            for member, checked in zip(learned, self._validate(step, learned), strict=True):
                member.seconds += sum(seconds.values())
                member.checkpoints.append(records[member.name] | times | checked)
                self._keep(member)
            if all(member.stopped for member in waiting):
                break
            if warnings.heard():
                for member in active:
                    self._save(member)
                self._wait()
                warnings.answer()
            clock = time.monotonic()
        self._wait()

    def _wait(self) -> None:
        """Wait until the states of all members are on disk."""
        for member in self.members:
            member.checkpoints.wait()

    def write_waiting(self) -> None:
        """Write the other finished heads of the pack, so that their own jobs only have to take them."""
        for member in self.members[1:]:
            inputs, ticket = self._made_of[member.name]
            folder = self.layout.waiting_head(member.name)
            if ticket is None or member.stopped or member.done < self.steps or finished.waits(folder, ticket):
                continue
            shutil.rmtree(folder, ignore_errors=True)
            publish(self.layout, self.source, member.settings, self.vision_config, member.checkpoints, inputs, folder)
            finished.wait(folder, ticket)

    def _resume(self, settings: TrainHead, objective: objectives.Loss, checkpoints: Checkpoints) -> PackedHead:
        before = checkpoints.restore()
        head = MAPHead(self._backbone.config)
        head.load_state_dict(self._backbone.head_state())
        done, seconds = (before["step"], before["seconds"]) if before else (0, 0.0)
        finished = done == self.steps
        # A finished head needs no engine, only to be published.
        engine = None if finished else Engine(head, settings.training, self.steps, self.ranks, before)
        return PackedHead(settings, objective, head, engine, checkpoints, done, seconds, done)  # type: ignore[arg-type]

    def _step(self, members: Sequence[PackedHead], step: int, batch: TokenBatch) -> dict[str, dict[str, Any]]:
        """Take one step of each member whose values are finite; returns their log records by name."""
        parts = packs.evaluate(members, batch, self._padding)
        engines = [member.engine for member in members]
        # Also for losses that are not finite: no value is read before all work is queued on the device.
        norms = self._learners.receive(engines, packs.differentiate(members, [own.loss for own in parts]))
        shown = [
            {
                "loss": own.loss,
                **own.terms,
                **{f"cosine_{name}": mean for name, mean in own.cosines.items()},
                "gradient_norm": norm,
            }
            for own, norm in zip(parts, norms, strict=True)
        ]
        values = packs.average(shown, self.ranks)
        steady = [place for place, own in enumerate(values) if all(map(math.isfinite, own.values()))]
        rates = dict(zip(steady, self._learners.step([engines[place] for place in steady]), strict=True))
        records = {}
        for place, (member, own) in enumerate(zip(members, values, strict=True)):
            norm = own.pop("gradient_norm")
            if place not in rates:
                self._stop(member, step, own, "gradient" if all(map(math.isfinite, own.values())) else "loss")
                continue
            if member.engine.sharded is not None:
                norm = float(member.engine.sharded.get_global_grad_norm())
            member.done = step
            records[member.name] = {"step": step, **own, "learning_rate": rates[place], "gradient_norm": norm}
        return records

    def _stop(self, member: PackedHead, step: int, values: Mapping[str, float], what: str) -> None:
        # The weights are those of the last good step: nothing of this batch has reached them.
        self._save(member)
        batch_size = member.training.batch_size
        samples = next(_tuples(self.source.mix, batch_size, Ranks(0, 0, 1), step - 1, step))
        member.stopped = report_stop(
            self.layout, self.source, member.settings, samples, (step, self.steps), values, what
        )
        if self.ranks.rank == 0:
            logger.warning("%s stops, the others go on:\n%s", member.name, member.stopped)

    def _validate(self, step: int, members: Sequence[PackedHead]) -> list[dict[str, float]]:
        """Each member's validation results for the log; empty unless they are due at this step."""
        every = [member.training.validate_every_steps for member in members]
        due = [member for member, n in zip(members, every, strict=True) if n and (step % n == 0 or step == self.steps)]
        if not due or self.ranks.rank > 0:
            return [{} for _ in members]
        found = dict(zip([member.name for member in due], self._validation.evaluate(due), strict=True))
        return [found.get(member.name, {}) for member in members]

    def _keep(self, member: PackedHead) -> None:
        step, training = member.done, member.training
        every = training.keep_every_steps
        if every and (step % every == 0 or step == self.steps):
            member.checkpoints.keep(step, member.engine.weights())
        if step % training.checkpoint_every_steps == 0 or step == self.steps:
            self._save(member)

    def _save(self, member: PackedHead) -> None:
        """Save a member's current state as the one to resume from."""
        member.checkpoints.save(
            member.done,
            {
                "step": member.done,
                "seconds": member.seconds,
                "resumed_after": member.resumed_after,
                "trained_with": [other.name for other in self.members if other is not member],
                "deepspeed": deepspeed_config(member.training, self.ranks),
                "machine": f"{self.ranks.size} x {member.engine.device}",
                **member.engine.state(),
            },
        )


@torch.no_grad()
def _encode_padding(backbone: Backbone) -> Tensor:
    """Tokens [1, tokens, dim] of an empty slot as the authors' code fills it: with zeros after the preprocessing."""
    pixels = backbone.preprocess([np.zeros((8, 8, 3), np.uint8)])
    return backbone.encode(torch.zeros(pixels.shape)).half().cpu()


def _check_ranks(training: TrainingSettings, ranks: Ranks) -> None:
    if training.last_batch == "keep" and ranks.size > 1:
        raise UserError(
            "training.last_batch",
            f"keep, over {ranks.size} ranks",
            "one rank: a partial batch cannot be cut evenly over several",
            "train on one GPU, or drop the last batch",
        )


def _tuples(mix: MixSampler, batch_size: int, ranks: Ranks, done: int, steps: int) -> Iterator[Tuples]:
    """One rank's part of each step's batch, from step `done` on."""
    per_epoch, local = mix.steps_per_epoch(batch_size), batch_size // ranks.size
    for step in range(done, steps):
        epoch, number = divmod(step, per_epoch)
        if number == 0 or step == done:
            tuples = mix.epoch(epoch)
        start = number * batch_size + ranks.rank * local
        yield tuples[start : start + local]
