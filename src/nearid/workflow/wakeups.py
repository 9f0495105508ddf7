"""Gives Snakemake's scheduler a single wake-up timer, instead of one more with every job that ends.

To respect `max-jobs-per-timespan`, Snakemake 9 schedules another look for jobs after each look, each with a new timer.
The timers add up: after a thousand jobs it looks a thousand times where once would do, on a core that steps could use.
"""

from __future__ import annotations

import threading
from typing import Any


def wake_once(scheduler: Any) -> None:
    """Patch `scheduler` (Snakemake's class) to have one timer at a time; a version without timers is left as it is."""
    if hasattr(scheduler, "_schedule_reevalutation"):  # as it is spelled there
        scheduler._schedule_reevalutation = _look_again_in


def _look_again_in(scheduler: Any, delay: float) -> None:
    """Wake `scheduler` in `delay` seconds, unless a timer is already running."""
    if getattr(scheduler, "_timer", None) is not None:
        return

    def wake() -> None:
        # Before the wake-up, so that the look that follows may start the next timer.
        scheduler._timer = None
        scheduler._open_jobs.release()

    scheduler._timer = threading.Timer(delay, wake)
    # A daemon, since a timer must not keep a finished run alive.
    scheduler._timer.daemon = True
    scheduler._timer.start()
