"""What a killed training resumes from: state and log, bound to the settings that they belong to."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nearid.io.files import replacing
from nearid.io.resume import Parts

logger = logging.getLogger(__name__)

State = dict[str, Any]


class Checkpoints:
    """Progress of one head in its undeclared folder `.progress`.

    Checkpoint `s` is the whole state after `s` steps, replaced atomically by the next; the log beside it is truncated
    to the checkpoint on resume, so that it has each step exactly once. A thread writes while training continues; a
    process killed meanwhile resumes from the previous checkpoint.

    Args:
        folder: the head's folder.
        key: hash of all that the outcome depends on; progress with another key is discarded, with a warning.
        writer: whether this rank writes; the others only read.
        thread: writes one file after the other; if None, the caller does.
    """

    def __init__(self, folder: Path, key: str, writer: bool = True, thread: ThreadPoolExecutor | None = None) -> None:
        progress = folder / ".progress"
        if writer and progress.is_dir() and any(part.name != key[:16] for part in progress.iterdir()):
            logger.warning("%s: discarded, it belongs to other settings, tokens or code", progress)
        self._parts = Parts(progress, key)
        self._log_path = self._parts.path(0, ".jsonl")
        self._writer = writer
        self._log: TextIO | None = None
        self._thread = thread
        self._writing: deque[Future[None]] = deque()

    def restore(self) -> State | None:
        """The newest state, None if there is none; opens the log, truncated to this state."""
        steps = self._parts.finished(".pt")
        state = torch.load(self._parts.path(steps[-1], ".pt"), map_location="cpu", weights_only=True) if steps else None
        if self._writer:
            self._log_path.touch()
            os.truncate(self._log_path, state["log_bytes"] if state else 0)
            self._log = self._log_path.open("a")
        return state

    def append(self, record: dict[str, Any]) -> None:
        """Add one line to the log."""
        if self._log:
            self._log.write(json.dumps(record, allow_nan=False) + "\n")

    def save(self, step: int, state: State) -> None:
        """Save `state` after `step` steps as the one to resume from; its tensors must not change afterwards."""
        if not self._log:
            return
        self._log.flush()
        self._write(self._save, step, state | {"log_bytes": self._log_path.stat().st_size}, self._log.fileno())

    def keep(self, step: int, head: dict[str, Tensor]) -> None:
        """Keep the head after `step` steps for the time lapse; its tensors must not change afterwards."""
        if self._writer:
            self._write(self._keep, step, head)

    def wait(self) -> None:
        """Wait until all that was saved and kept is on disk.

        Raises:
            OSError: it could not be written.
        """
        while self._writing:
            self._writing.popleft().result()

    def _write(self, write: Callable[..., None], *what: Any) -> None:
        if self._thread is None:
            write(*what)
            return
        # No more than a state and a head to keep wait in memory, per head.
        while len(self._writing) > 1:
            self._writing.popleft().result()
        self._writing.append(self._thread.submit(write, *what))

    def _save(self, step: int, state: State, log: int) -> None:
        os.fsync(log)
        older = self._parts.finished(".pt")
        with replacing(self._parts.path(step, ".pt")) as private:
            torch.save(state, private)
        for number in older:
            if number != step:
                self._parts.path(number, ".pt").unlink()

    def _keep(self, step: int, head: dict[str, Tensor]) -> None:
        with replacing(self._parts.path(step, ".safetensors")) as private:
            save_file(head, private)

    def kept(self) -> dict[str, Tensor]:
        """All kept heads, keys `step_000100.<name>`."""
        self.wait()
        return {
            f"step_{step:06d}.{name}": tensor
            for step in self._parts.finished(".safetensors")
            for name, tensor in load_file(self._parts.path(step, ".safetensors")).items()
        }

    def log(self) -> str:
        """The whole log."""
        if self._log:
            self._log.flush()
        return self._log_path.read_text()

    def clear(self) -> None:
        """Remove the progress, once the declared results are written."""
        self.wait()
        if self._log:
            self._log.close()
        self._parts.clear()
