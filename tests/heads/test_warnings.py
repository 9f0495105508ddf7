"""A cluster's warnings: the state is saved at the next step, and the next run resumes from it."""

import json
import os
import signal
from pathlib import Path

import pytest
import token_world as world
from safetensors.torch import load_file

from nearid.distributed import signals
from nearid.heads import packs

pytestmark = pytest.mark.numerics


def train_with_signals(root, settings, folder, calls):
    """Train inside a cluster's job; `calls` says which signals arrive during which step."""
    folder.mkdir(exist_ok=True)
    (folder / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n')
    (folder / "scontrol").chmod(0o755)
    environment = {"SLURM_JOB_ID": "77", "PATH": f"{folder}:{os.environ['PATH']}"}
    evaluate, seen = packs.evaluate, []

    def evaluate_with_signals(*arguments):
        seen.append(None)
        for number in calls.get(len(seen), ()):
            os.kill(os.getpid(), number)
        return evaluate(*arguments)

    packs.evaluate = evaluate_with_signals
    # A process that waits to be ended is ended.
    signals.time.sleep = lambda seconds: os.kill(os.getpid(), signal.SIGKILL)
    world.train(root, settings, environment=environment)


def outcome(layout):
    return load_file(layout.head_file("tiny")), json.loads(layout.head_file("tiny", "provenance.json").read_text())


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(bool((one[name] == other[name]).all()) for name in one)


@pytest.fixture
def settings():
    # No regular checkpoint before the end: only what warnings saved can be resumed.
    return world.settings(checkpoint_every_steps=1000)


@pytest.fixture
def undisturbed(tmp_path, trained, settings):
    layout = world.write_world(tmp_path / "undisturbed")
    trained(layout, settings)
    return outcome(layout)[0]


def test_near_the_time_limit_it_saves_and_asks_for_a_further_round(tmp_path, start_apart, settings, undisturbed):
    layout, folder = world.write_world(tmp_path / "world"), tmp_path / "bin"
    near_the_end = {6: (signal.SIGURG,), 9: (signal.SIGKILL,)}
    assert start_apart(train_with_signals, [(layout.root, settings, folder, near_the_end)]) == [-signal.SIGKILL]
    assert (folder / "asked").read_text() == "requeue 77\n"
    assert start_apart(train_with_signals, [(layout.root, settings, folder, {})]) == [0]
    weights, provenance = outcome(layout)
    assert provenance["resumed_after_step"] == 6
    assert_same(weights, undisturbed)


def test_preempted_five_times_the_weights_are_the_same(tmp_path, start_apart, settings, undisturbed):
    layout, folder = world.write_world(tmp_path / "world"), tmp_path / "bin"
    for _ in range(5):
        calls = [(layout.root, settings, folder, {2: (signal.SIGTERM,)})]
        assert start_apart(train_with_signals, calls) == [-signal.SIGKILL]
    assert not (folder / "asked").exists()  # SLURM itself requeues a preempted job
    assert start_apart(train_with_signals, [(layout.root, settings, folder, {})]) == [0]
    weights, provenance = outcome(layout)
    assert provenance["resumed_after_step"] == 10
    assert_same(weights, undisturbed)


def test_outside_of_a_cluster_sigterm_ends_it(tmp_path, start_apart, settings):
    layout = world.write_world(tmp_path)
    assert start_apart(end_by_hand, [(layout.root, settings)]) == [-signal.SIGTERM]


def end_by_hand(root, settings):
    evaluate = packs.evaluate
    os.environ.pop("SLURM_JOB_ID", None)

    def evaluate_and_end(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments)

    packs.evaluate = evaluate_and_end
    world.train(Path(root), settings)


def test_a_head_that_trains_is_not_trained_a_second_time_by_a_pack(tmp_path, trained, settings):
    from nearid.errors import UserError
    from nearid.io.locks import lock

    layout = world.write_world(tmp_path)
    with (
        lock(layout.pack("tiny.job"), "trains this head"),
        pytest.raises(UserError, match="another process trains this head"),
    ):
        trained(layout, [settings, settings | {"ablation": "other"}])
