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

# Before the time limit (`--signal=URG@120` of slurm/config.yaml): harmless to those who do not know it.
TIME_ENDS = signal.SIGURG
# Preemption, scancel: SLURM ends the job itself, and brings it back where that is its way.
JOB_ENDS = signal.SIGTERM
# Longer than partitions give from this warning to the end (`GraceTime`, `KillWait`).
GRACE_S = 600


class Stopped(BaseException):
    """Somebody asked this process to end. It is not an `Exception`, so that no error handler catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM end what runs in this context: it cleans up, then its workers and this process end.

    A second signal ends it without cleaning up. Where our parent ignores Ctrl-C (a script's background job), so do
    we. In a cluster's job SIGTERM is the cluster's own end or a warning (`Warnings`).
    """
    numbers = [] if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else [signal.SIGINT]
    numbers += [] if _in_a_job() else [signal.SIGTERM]
    before = {number: signal.signal(number, _stop) for number in numbers}
    try:
        yield
    except Stopped as stop:
        name = signal.Signals(stop.number).name
        # A run says so, once for all of its steps. Not by `logging`: another thread may
        # hold its lock for good.
        if not is_listened_to():
            print(f"\nended by {name}: start it again to resume", file=sys.stderr, flush=True)
        for child in multiprocessing.active_children():
            child.kill()
        sys.stdout.flush()
        # Python would wait for all that its threads still have to do.
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
    """Listens to a cluster's warnings while a long step runs; a context manager.

    Outside of a cluster's job nothing is listened to: there SIGTERM means an end. Inside it a job that ended by itself
    would count as failed, so the step waits for its end; what it finished meanwhile would be taken for a failed job's.
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
        """Whether any rank was warned since the last `answer`; all ranks ask at the same step and hear the same."""
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
        """Once the state is saved: ask for a further round where the time ends, and wait where the job does."""
        heard, self._heard = self._heard, set()
        handler = self._before[TIME_ENDS]
        if TIME_ENDS in heard and self._ranks.rank == 0:
            if callable(handler):
                handler(TIME_ENDS, None)  # submitit's: it puts the job back into the queue and ends
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
