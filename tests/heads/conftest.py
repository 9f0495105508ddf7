"""Fast ways to run code in separate processes."""

import multiprocessing
import os
import sys
from multiprocessing import forkserver

import pytest
import token_world as world
import torch

from nearid.config.settings.heads import TrainHead
from nearid.distributed.ranks import VARIABLES, _free_port
from nearid.heads import training


@pytest.fixture(scope="session")
def start_apart():
    """Run a function once per tuple of arguments, concurrently, each in a process of its own; returns the exit codes.

    The processes are forked from one that has imported everything but started nothing.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["token_world"])
    with pytest.MonkeyPatch.context() as patch:
        # Python 3.11 does not pass this process's module path to the fork server.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()

    def start(function, calls):
        children = [processes.Process(target=function, args=arguments) for arguments in calls]
        for child in children:
            child.start()
        for child in children:
            child.join(300)
        return [child.exitcode for child in children]

    return start


@pytest.fixture
def train_apart(start_apart):
    """Train a head, or a pack, in as many processes as `ranks`; returns their exit codes."""

    def train(layout, settings, kill_at=0, ranks=1):
        port = str(_free_port())
        calls = []
        for rank in range(ranks):
            values = (str(rank), str(rank), str(ranks), "127.0.0.1", port)
            environment = dict(zip(VARIABLES, values, strict=True)) if ranks > 1 else {}
            calls.append((layout.root, settings, kill_at, environment))
        return start_apart(world.train, calls)

    return train


@pytest.fixture
def trained(monkeypatch):
    """Train in this process, with one thread; of a list the first, with the others along. Returns its folder."""
    monkeypatch.setattr(training, "load_backbone", world.backbone)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def train(layout, settings):
        first, *others = settings if isinstance(settings, list) else [settings]
        training.train(TrainHead.parse(first), layout, along=[(TrainHead.parse(other), "") for other in others])
        return layout.head(first["ablation"])

    yield train
    torch.set_num_threads(threads)
