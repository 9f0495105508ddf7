"""Progress of long steps: a bar in a terminal, plain lines with count, rate and time left in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(items: Iterable[Item], label: str, total: int, done: int = 0, interval_s: float = 10.0) -> Iterator[Item]:
    """Yield `items` and report on stderr: `done` of `total` were finished by an earlier try."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=label, total=total, initial=done)
        return
    start = last = time.monotonic()
    count = done
    for item in items:
        yield item
        count += 1
        now = time.monotonic()
        if now - last >= interval_s or count == total:
            rate = (count - done) / max(now - start, 1e-9)
            left = (total - count) / rate
            print(f"{label}: {count}/{total}  {rate:.1f}/s  {left:.0f} s left", file=sys.stderr, flush=True)
            last = now
