"""Worker processes that return results in order and never outlive their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from nearid.io.progress import log_to_stderr

Item = TypeVar("Item")
Result = TypeVar("Result")

_function: Callable[[Any], Any] | None = None


def map_ordered(make: Callable[[], Callable[[Item], Result]], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Results of `make()` on `items`, in their order, from `workers` processes; one worker is this process.

    `make` runs once per process, for what takes long to open, and must be picklable. Processes are spawned, not
    forked, since a renderer or a model in the parent must not be shared with its children.
    """
    if workers <= 1:
        yield from map(make(), items)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(make,)) as pool:
        try:
            yield from pool.map(_call, items)
        except BaseException:
            # Their work is no longer needed, and may take long.
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def end_with_parent() -> None:
    """Make this worker process end with its parent; an executor's idle workers would outlive a killed parent."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _start(make: Callable[[], Callable[[Any], Any]]) -> None:
    global _function
    # Ctrl-C in a terminal reaches all processes; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    log_to_stderr()
    _function = make()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _call(item: Any) -> Any:
    assert _function is not None
    return _function(item)
