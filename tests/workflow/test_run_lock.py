"""One run at a time in a results folder: a second run, an orphan of a killed one, no locks, and the workflow itself."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from nearid.errors import UserError
from nearid.workflow import run_lock

# Holds the lock, and starts a job that shares it, reports that, and may outlive it.
RUN = """
import subprocess, sys
from pathlib import Path
from nearid.workflow import run_lock
folder = Path(sys.argv[1])
run_lock.hold(folder)
job = "from pathlib import Path; from nearid.workflow import run_lock; import sys; "
job += "run_lock.share(Path(sys.argv[1])); print('shares', flush=True); sys.stdin.read()"
subprocess.run([sys.executable, "-c", job, str(folder)])
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(run_lock, "PATIENCE_S", 0.0)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.fixture
def run(tmp_path):
    """A run with a job, in other processes; the job ends when its input is closed."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], stdin=pipe, stdout=pipe) as child:
        assert child.stdout.readline() == b"shares\n"
        yield child
        child.stdin.close()


def test_a_second_run_is_refused_and_told_whose_the_first_is(run, tmp_path):
    with pytest.raises(UserError, match=f"another run works here.*process {run.pid}"):
        run_lock.hold(tmp_path)
    with run_lock.held(tmp_path / "other"):
        pass


def test_a_killed_run_is_over_when_its_last_job_is(run, tmp_path, monkeypatch):
    run.send_signal(signal.SIGKILL)
    run.wait()
    with pytest.raises(UserError, match="jobs of a killed one"):
        run_lock.hold(tmp_path)
    run.stdin.close()  # the orphan ends
    monkeypatch.setattr(run_lock, "PATIENCE_S", 60.0)
    with run_lock.held(tmp_path):
        pass
    with run_lock.held(tmp_path):
        pass


def test_a_job_alone_locks_nothing(tmp_path):
    run_lock.share(tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_locks_it_is_told_and_goes_on(tmp_path, monkeypatch, caplog):
    def refuse(descriptor, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with run_lock.held(tmp_path):
        pass
    assert "has no locks" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_another_users_lock_need_only_be_read(tmp_path):
    (tmp_path / run_lock.LOCK).touch(mode=0o444)
    with run_lock.held(tmp_path):
        pass
