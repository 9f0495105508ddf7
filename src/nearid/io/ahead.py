"""Threads that work ahead of whoever takes what a generator yields."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def threads_ahead(count: int, name: str = "") -> Iterator[ThreadPoolExecutor]:
    """Threads of a generator that may be left half-way; then what was not begun is dropped, and nothing waited for.

    Python ends such a generator wherever it collects garbage, in any thread: also in one that is just starting and
    holds a lock of `threading`, which waiting for another thread needs. `ThreadPoolExecutor` alone would wait for ever.
    """
    pool = ThreadPoolExecutor(count, name)
    left = False
    try:
        yield pool
    except GeneratorExit:
        left = True
        raise
    finally:
        pool.shutdown(wait=not left, cancel_futures=True)
