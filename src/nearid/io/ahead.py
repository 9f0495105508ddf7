"""Threads that work ahead of the consumer of a generator."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def threads_ahead(count: int, name: str = "") -> Iterator[ThreadPoolExecutor]:
    """A thread pool for use in a generator that its consumer may abandon: queued work is then dropped, without waiting.

    Python closes an abandoned generator during garbage collection, in any thread. That may be a thread which is just
    starting and holds a lock of `threading` that waiting for other threads needs: `ThreadPoolExecutor` alone would then
    wait for ever.
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
