"""Running a step in a process of its own and killing it where a test says so."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parents[2] / "src"


def run_until(
    condition: Callable[[], bool],
    command: list[str],
    settings: dict[str, Any],
    start: Sequence[str] = ("-m", "nearid"),
    timeout_s: float = 240,
) -> None:
    """Start `nearid <command> --settings ...`, SIGKILL it once `condition` holds; fails if it ends before that."""
    process = subprocess.Popen(
        [sys.executable, *start, *command, "--settings", json.dumps(settings)],
        env=os.environ | {"PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, f"ended before it could be killed: {process.stderr.read().decode()}"
        assert time.monotonic() < end, "nothing to kill within the time"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
