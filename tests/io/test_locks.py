"""Locks between processes: the second one is refused or waits, a killed one is over, a file system may have none."""

import errno
import fcntl
import logging
import subprocess
import sys
import threading

import pytest

from nearid.errors import UserError
from nearid.io.locks import lock, taking_turns

HOLD = """
import sys
from pathlib import Path
from nearid.io.locks import lock
with lock(Path(sys.argv[1]), "holds"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_job_is_refused_or_waits_until_the_first_is_killed(tmp_path, caplog):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process works here"), lock(tmp_path, "works here"):
            pass

        class Killing(logging.Handler):
            def emit(self, record):
                other.kill()

        logging.getLogger("nearid.io.locks").addHandler(killing := Killing())
        with lock(tmp_path, "works here", wait=True):
            assert "another job works here; waiting for it" in caplog.messages
        logging.getLogger("nearid.io.locks").removeHandler(killing)


def test_one_at_a_time(tmp_path):
    inside, most = [], []

    def work():
        with taking_turns(tmp_path / "turn", "works"):
            inside.append(None)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 4


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_it_is_told_and_goes_on(tmp_path, monkeypatch, caplog, number):
    def refuse(descriptor, kind):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for held in (lock(tmp_path, "works here"), taking_turns(tmp_path / "turn", "works")):
        with held:
            pass
    assert len(caplog.messages) == 2 and "has no locks" in caplog.text
