"""Ctrl-C and SIGTERM during an export: it ends, leaves nothing that looks whole, and the next call writes all of it."""

import os
import signal
import subprocess
import sys
import time

import pytest

# The command, which stops before its last file until the test has sent its signal.
PROGRAM = """
import pathlib, sys, time
from nearid.release import export

written, at, pause = export.write_text, pathlib.Path(sys.argv.pop(1)), sys.argv.pop(1) == "pause"

def write_and_wait(*arguments):
    written(*arguments)
    if pause:
        at.touch()
        while True:  # until the signal comes
            time.sleep(0.01)

export.write_text = write_and_wait
from nearid.cli import main
main()
"""


@pytest.mark.parametrize(
    ("number", "more"),
    [(signal.SIGTERM, ["--ablation", "nearid"]), (signal.SIGINT, ["--data"])],
    ids=["model", "data"],
)
def test_an_export_ends_and_is_written_anew(run, tmp_path, number, more):
    output, reached = tmp_path / "exported", tmp_path / "reached"
    arguments = ["export", str(run.layout.root), "--output", str(output), *more]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SUBMITIT"))}
    # Where this test runs in the background, Ctrl-C is ignored and would be in the child.
    listens = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    program = [sys.executable, "-c", PROGRAM, str(reached)]
    with subprocess.Popen(
        [*program, "pause", *arguments], env=environment, stderr=subprocess.PIPE, preexec_fn=listens
    ) as child:
        while not reached.exists():
            assert child.poll() is None, child.stderr.read().decode()
            time.sleep(0.02)
        child.send_signal(number)
        said = child.communicate(timeout=120)[1].decode()
    assert child.returncode == 128 + number, said
    assert "start it again" in said and "Traceback" not in said
    assert not output.exists() and [path.name for path in tmp_path.iterdir()] == ["reached"]
    subprocess.run([*program, "on", *arguments], env=environment, check=True, timeout=300)
    assert (output / ("NearID/README.md" if "--data" in more else "README.md")).is_file()
