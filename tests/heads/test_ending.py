"""Ctrl-C and SIGTERM during training: it ends at once, leaves no process, and the next call resumes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import token_world as world

# The command, with a backbone of this test's and a line for each step.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import token_world
from nearid.heads import packs, training

training.load_backbone = token_world.backbone
evaluate, steps = packs.evaluate, []

def tell(*arguments):
    print("step", flush=True)
    steps.append(None)
    if len(steps) == 5:
        sys.stdin.read()  # a long step, where somebody holds the other end
    return evaluate(*arguments)

packs.evaluate = tell
from nearid.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_training_ends_and_goes_on(tmp_path, number):
    layout, settings = world.write_world(tmp_path), world.settings(ablation="x", checkpoint_every_steps=2)
    command = ["heads", "train", "--results", str(layout.root), "--ablation", "x", "--settings", json.dumps(settings)]
    program = [sys.executable, "-c", PROGRAM, str(Path(world.__file__).parent), *command]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SUBMITIT"))}
    # If this test runs in the background, Ctrl-C is ignored, and would be in the child.
    listens = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    pipe = subprocess.PIPE
    with subprocess.Popen(program, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=listens) as child:
        lines = iter(child.stdout.readline, b"")  # of libraries too
        for _ in range(5):
            assert b"step\n" in lines, "ended before its fifth step"
        child.send_signal(number)
        assert child.wait(120)
        said = child.communicate(timeout=60)[1].decode()
    assert child.returncode == 128 + number, said
    assert "start it again" in said and "Traceback" not in said
    assert not layout.head_file("x").exists()
    if number == signal.SIGINT:
        return  # goes on as below
    subprocess.run(program, env=environment, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
    assert layout.head_file("x").is_file()
