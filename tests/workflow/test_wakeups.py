"""One timer wakes Snakemake's scheduler, however often it has looked for jobs."""

import threading
from typing import ClassVar

from snakemake.scheduling.job_scheduler import JobScheduler

from nearid.workflow import wakeups


class Timer:
    """Stands in for `threading.Timer`: it fires when the test calls `wake`."""

    started: ClassVar[list] = []

    def __init__(self, delay, wake):
        self.delay, self.wake = delay, wake

    def start(self):
        self.started.append(self)


def test_looks_of_the_scheduler_share_a_timer(monkeypatch):
    monkeypatch.setattr(wakeups.threading, "Timer", Timer)

    class Scheduler:
        def __init__(self):
            self._open_jobs = threading.Semaphore(0)

        def _schedule_reevalutation(self, delay):
            raise AssertionError("Snakemake's own starts one more each time")

    wakeups.wake_once(Scheduler)
    scheduler = Scheduler()
    for _ in range(3):
        scheduler._schedule_reevalutation(10)
    (timer,) = Timer.started
    assert timer.delay == 10 and timer.daemon
    timer.wake()
    assert scheduler._open_jobs.acquire(blocking=False) and not scheduler._open_jobs.acquire(blocking=False)
    scheduler._schedule_reevalutation(10)
    assert len(Timer.started) == 2


def test_the_installed_snakemake_has_what_is_changed_and_others_stay_as_they_are():
    """If this fails, `nearid.workflow.wakeups` must be adapted, or can be removed."""
    assert "_schedule_reevalutation" in vars(JobScheduler) and "_open_jobs" in JobScheduler.__init__.__code__.co_names

    class Other:
        pass

    wakeups.wake_once(Other)
    assert not hasattr(Other, "_schedule_reevalutation")
