"""Progress of each head of a sweep: state, step, loss and time left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearid.config.mixes import drawn_sources
from nearid.config.settings.heads import TrainHead
from nearid.io.files import read_json
from nearid.layout import Layout
from nearid.sweeps.states import read_states
from nearid.sweeps.sweep import Sweep

# Enough of a log's end for its last steps: a line has about 500 bytes.
_END_BYTES = 8192


@dataclass(frozen=True)
class Progress:
    """One line of the table.

    Attributes:
        ablation: of the head.
        state: see `read_states`.
        step: the last one in the head's log; 0 if there is none.
        steps: the total; None before the data exists.
        loss: at the last step.
        left_s: seconds for the remaining steps at the speed of the last ones; only of running heads.
    """

    ablation: str
    state: str
    step: int
    steps: int | None
    loss: float | None
    left_s: float | None


def read_progress(sweep: Sweep) -> list[Progress]:
    """The table's lines, in the order of the heads."""
    return [_progress_of(sweep, name, state) for name, state in read_states(sweep).items()]


def _progress_of(sweep: Sweep, name: str, state: str) -> Progress:
    steps = count_steps(sweep.settings(name), sweep.layout)
    last = _last_steps(sweep.layout, name)
    if not last:
        return Progress(name, state, 0, steps, None, None)
    step = last[-1]["step"]
    seconds = sum(one["wait_s"] + one["step_s"] for one in last) / len(last)
    left = max(0, steps - step) * seconds if steps and state == "running" else None
    return Progress(name, state, step, steps, last[-1]["loss"], left)


def count_steps(settings: TrainHead, layout: Layout) -> int | None:
    """Steps of a head's training, from its settings and the data; None before the data exists.

    Identities of which damaged images leave only one view are counted, although they do not train.
    """
    mix, training = settings.mix, settings.training
    samples = 0
    if drawn_sources(mix.given):
        if not layout.splits.is_file():
            return None
        samples += len(read_json(layout.splits)["train"]) * mix.nearid_repeats
    if mix.mtg_repeats:
        if not layout.mtg("train").is_file():
            return None
        import pyarrow.parquet

        samples += pyarrow.parquet.read_metadata(layout.mtg("train")).num_rows * mix.mtg_repeats
    full, rest = divmod(samples, training.batch_size)
    kept = training.last_batch == "keep" and rest > 0
    return training.epochs * (full + kept)


def _last_steps(layout: Layout, name: str) -> list[Any]:
    """The last lines of a head's log: of the running training, or else of the finished one."""
    under_way = sorted(layout.head(name).glob(".progress/*/*.jsonl"))
    for log in (*under_way, layout.head_file(name, "log.jsonl")):
        if found := _read_end(log):
            return found
    return []


def _read_end(log: Path) -> list[Any]:
    try:
        with log.open("rb") as stream:
            start = max(0, stream.seek(0, 2) - _END_BYTES)
            stream.seek(start)
            lines = stream.read().split(b"\n")
    except FileNotFoundError:  # the training may end meanwhile
        return []
    # After the last line break is a line that is still being written; the first line may be cut.
    return [json.loads(line) for line in lines[int(start > 0) : -1]]
