"""Ctrl-C and SIGTERM while a head is scored: it ends, leaves no process, and resumes to the same bytes."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from score_steps import score_nearid_bench
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.io.files import write_json

# The command, with a line for each collection that is read; before the fourth it waits, as if for a slow disk.
PROGRAM = """
import sys
from nearid.scores import embeddings

pooled, calls, waits = embeddings._pool, [], sys.argv.pop(1) == "wait"

def tell(embedders, blocks, *arguments):
    print("read", flush=True)
    calls.append(None)

    def slowly():
        for block in blocks:
            if waits and len(calls) == 4:
                print("waiting", flush=True)
                sys.stdin.read()  # where somebody holds the other end
            yield block

    return pooled(embedders, slowly(), *arguments)

embeddings._pool = tell
from nearid.cli import main
main()
"""


@pytest.fixture
def settings(world):
    config = SiglipVisionConfig(hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1)
    torch.manual_seed(0)
    head = SiglipMultiheadAttentionPoolingHead(config)
    write_json(world.layout.head_file("x", "config.json"), {"vision_config": config.to_dict()})
    save_file({key: weight.contiguous() for key, weight in head.state_dict().items()}, world.layout.head_file("x"))
    return world.settings("x", kind="head", ablation="x")


def program(how, command):
    return [sys.executable, "-c", PROGRAM, how, *command]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_scoring_ends_and_goes_on(world, settings, tmp_path, number):
    command = ["scores", "nearid-bench", "--results", str(world.layout.root), "--scorer", "x"]
    command += ["--settings", json.dumps(settings)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SUBMITIT"))}
    # If this test runs in the background, Ctrl-C is ignored, and would be in the child.
    listens = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    pipe, scores = subprocess.PIPE, world.layout.scores("x", "nearid_bench")
    with subprocess.Popen(
        program("wait", command), env=environment, stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=listens
    ) as child:
        assert b"waiting\n" in iter(child.stdout.readline, b""), child.stderr.read().decode()
        child.send_signal(number)
        # By its own end, not that of its input. A process that it started would hold its stderr open.
        assert child.wait(60)
        said = child.stderr.read().decode()
    assert child.returncode == 128 + number, said
    assert "start it again" in said and "Traceback" not in said
    assert not scores.exists()

    if number == signal.SIGINT:
        return  # goes on as below
    done = subprocess.run(
        program("on", command), env=environment, check=True, stdout=pipe, stdin=subprocess.DEVNULL, timeout=300
    )
    # Each condition of each collection has a line: nothing that was read before the signal is read again.
    assert done.stdout.splitlines().count(b"read") == 3
    whole = tmp_path / "whole" / "scores.parquet"
    score_nearid_bench(settings, world.layout, whole)
    assert scores.read_bytes() == whole.read_bytes()
