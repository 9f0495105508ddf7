"""Interleaved timings: what the ratios in the benchmarks' JSON rest on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any


def compare(
    candidates: dict[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float],
    before: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Time each candidate once per round, in random order, and give seconds and ratios to the first with quartiles.

    Interleaving makes a busy machine slow all candidates alike. One round warms up and does not count.

    Args:
        candidates: name -> what to time; the first is the reference.
        rounds: timed rounds, at least 5.
        clock: `time.perf_counter` where waiting counts, `time.process_time` where only work does.
        before: what is done before each candidate, outside its time.
    """
    order, seconds = list(candidates), {name: [] for name in candidates}
    shuffle = random.Random(0).shuffle
    for round in range(rounds + 1):
        shuffle(order)
        for name in order:
            before()
            start = clock()
            candidates[name]()
            if round:
                seconds[name].append(clock() - start)
    reference = next(iter(candidates))
    return {
        name: {
            "seconds": _spread(times),
            f"times_faster_than_{reference}": _spread(
                [slow / fast for slow, fast in zip(seconds[reference], times, strict=True)]
            ),
        }
        for name, times in seconds.items()
    }


def keep_memory() -> None:
    """Start this script again with a C library that keeps large blocks instead of giving each back at once.

    Else page faults of fresh blocks outweigh the work of quick candidates (docs/performance.md 1).
    """
    wanted = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(1 << 32))
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)


def describe_machine(*packages: str) -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "clock_at": time.strftime("%Y-%m-%d"),
    } | {package: importlib.metadata.version(package) for package in packages}


def _spread(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4)
    return {"median": round(median, 4), "q1": round(low, 4), "q3": round(high, 4)}
