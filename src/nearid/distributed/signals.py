"""Signals: requests to stop, and warnings that a cluster's job will end soon."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from nearid.distributed.ranks import Ranks
from nearid.io.programs import ask, brief
from nearid.io.progress import is_listened_to

logger = logging.getLogger(__name__)

# Sent before the time limit (`--signal=URG@120` in slurm/config.yaml); ignored by processes without a handler.
TIME_ENDS = signal.SIGURG
# Preemption or scancel: SLURM ends the job itself, and requeues it if so configured.
JOB_ENDS = signal.SIGTERM
# Longer than the time that partitions leave between this warning and the end (`GraceTime`, `KillWait`).
GRACE_S = 600


class Stopped(BaseException):
    """The process was asked to end. Not an `Exception`, so that no error handler catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM end what runs in this context: it cleans up, then its workers and this process end.

    A second signal ends it without cleaning up. If our parent ignores Ctrl-C (a script's background job), so do we. In
    a cluster's job SIGTERM is left to the cluster and to `Warnings`.
    """
    numbers = [] if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else [signal.SIGINT]
    numbers += [] if _in_a_job() else [signal.SIGTERM]
    before = {number: signal.signal(number, _stop) for number in numbers}
    try:
        yield
    except Stopped as stop:
        name = signal.Signals(stop.number).name
        # Within a workflow run, the run says this once for all of its steps. Not by `logging`, whose lock another
        # thread may hold for good.
        if not is_listened_to():
            print(f"\nended by {name}: start it again to resume", file=sys.stderr, flush=True)
        for child in multiprocessing.active_children():
            child.kill()
        sys.stdout.flush()
        # A normal exit would wait for all that threads still have to do.
        os._exit(128 + stop.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(number)


def _in_a_job() -> bool:
    return "SLURM_JOB_ID" in os.environ or "SUBMITIT_EXECUTOR" in os.environ


class Warnings:
    """Listens for a cluster's warnings while a long step runs; a context manager.

    Outside a cluster's job it does nothing: there SIGTERM ends the process. In one, a job that exits by itself after a
    warning would count as failed, and its results as those of a failed job; so the step saves its state and waits for
    the cluster to end it.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._heard: set[int] = set()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Warnings:
        if _in_a_job():
            for number in (TIME_ENDS, JOB_ENDS):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def heard(self) -> bool:
        """Whether any rank was warned since the last `answer`; all ranks call it at the same step and get the same."""
        if self._ranks.size > 1 and self._before:
            import torch
            import torch.distributed as dist

            flags = torch.tensor([float(number in self._heard) for number in (TIME_ENDS, JOB_ENDS)])
            flags = flags.cuda() if dist.get_backend() == "nccl" else flags
            dist.all_reduce(flags)
            self._heard |= {
                number for number, count in zip((TIME_ENDS, JOB_ENDS), flags.tolist(), strict=True) if count
            }
        return bool(self._heard)

    def answer(self) -> None:
        """Call it once the state is saved: requeue the job if its time limit is near, or wait if it is being ended."""
        heard, self._heard = self._heard, set()
        handler = self._before[TIME_ENDS]
        if TIME_ENDS in heard and self._ranks.rank == 0:
            if callable(handler):
                handler(TIME_ENDS, None)  # submitit's handler, which requeues the job and exits
                return
            job = os.environ["SLURM_JOB_ID"]
            asked = ask("scontrol", "requeue", job)
            said = "no answer of scontrol" if asked is None else brief(asked[1]) or "it is requeued and resumes"
            logger.info("job %s: the time limit is near, the state is saved; %s", job, said)
        if JOB_ENDS in heard and not callable(handler):
            if self._ranks.rank == 0:
                logger.info("the job is being ended, the state is saved")
            time.sleep(GRACE_S)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._heard.add(number)
