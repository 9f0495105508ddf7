"""Snakemake's scheduler, which one timer wakes instead of one more for every job that has ended.

To heed `max-jobs-per-timespan`, Snakemake 9 looks for jobs again a while after each look. Each look starts a timer, and
what that leads to starts the next: after a thousand jobs it looks a thousand times where it should once, on a core that
steps could use.
"""

from __future__ import annotations

import threading
from typing import Any


def wake_once(scheduler: Any) -> None:
    """Let a `scheduler` (Snakemake's class) have one timer at a time; a version without them is left as it is."""
    if hasattr(scheduler, "_schedule_reevalutation"):  # as it is spelled there
        scheduler._schedule_reevalutation = _look_again_in


def _look_again_in(scheduler: Any, delay: float) -> None:
    """Wake `scheduler` in `delay` seconds, unless that is to happen anyway."""
    if getattr(scheduler, "_timer", None) is not None:
        return

    def wake() -> None:
        # First, so that the look to come may start the next one.
        scheduler._timer = None
        scheduler._open_jobs.release()

    scheduler._timer = threading.Timer(delay, wake)
    # It must not keep a run that has ended.
    scheduler._timer.daemon = True
    scheduler._timer.start()
