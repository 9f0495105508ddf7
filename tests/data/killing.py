"""Running a step in a process of its own and killing it at a point that the test chooses."""

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
    number: signal.Signals = signal.SIGKILL,
) -> None:
    """Start `nearid <command> --settings ...` and send a signal once `condition` holds; fails if it ends before that.

    It and all processes that it started must end soon: a surviving one would hold its stderr open.
    """
    process = subprocess.Popen(
        [sys.executable, *start, *command, "--settings", json.dumps(settings)],
        env=os.environ | {"PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        # If these tests run in the background, Ctrl-C is ignored, and would be in the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, f"ended before it could be killed: {process.stderr.read().decode()}"
        assert time.monotonic() < end, "nothing to kill within the time"
        time.sleep(0.005)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1].decode()
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number, said
        assert "start it again" in said and "Traceback" not in said
