"""Processes of their own, quickly."""

import multiprocessing
import os
import sys
from multiprocessing import forkserver

import pytest


@pytest.fixture(scope="session")
def start_apart():
    """Run a function once per tuple of arguments, all at once, each in its process; gives their exit codes.

    The processes are children of one that has imported everything and started nothing.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["token_world"])
    with pytest.MonkeyPatch.context() as patch:
        # Python 3.11 does not tell the server where this process finds its modules.
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
