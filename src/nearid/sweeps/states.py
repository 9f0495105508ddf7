"""Which jobs and heads of a sweep wait, run or are done, from `jobs.json`, SLURM's queue and the heads' folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from nearid.errors import UserError
from nearid.io.files import read_json, write_json
from nearid.io.hashing import hash_json
from nearid.io.programs import ask
from nearid.sweeps.sweep import Sweep

_STATES = "pending configuring running completing suspended stopped resizing signaling stage_out preempted"
_REQUEUED = "requeued requeue_fed requeue_hold special_exit"
UNDER_WAY = tuple(f"{_STATES} {_REQUEUED}".split())
"""States of SLURM in which a job has not ended."""


class Submitted(TypedDict):
    """A job: its id, its executor, and the request with which it was submitted (`submission.JobRequest`)."""

    job: str
    executor: str
    needs: dict[str, Any]


def read_jobs(sweep: Sweep) -> dict[str, Submitted]:
    """The last submitted job of each head."""
    path = sweep.folder / "jobs.json"
    return read_json(path) if path.is_file() else {}


def add_jobs(sweep: Sweep, jobs: Mapping[str, Submitted]) -> None:
    """Record newly submitted jobs by head."""
    write_json(sweep.folder / "jobs.json", read_jobs(sweep) | dict(jobs))


def read_states(sweep: Sweep) -> dict[str, str]:
    """State of each head: done, diverged, one of SLURM's states in lower case, or not running.

    Raises:
        UserError: SLURM does not answer.
    """
    jobs = read_jobs(sweep)
    queue = read_queue(sweep)
    queued = {name: queue.get(job["job"], "") for name, job in jobs.items()}
    return {name: _state_of(sweep, name, queued.get(name, "")) for name in sweep.ablations}


def is_done(sweep: Sweep, name: str) -> bool:
    """Whether a head has been trained with the sweep's settings."""
    provenance = sweep.layout.head_file(name, "provenance.json")
    return provenance.is_file() and read_json(provenance)["settings_hash"] == hash_json(sweep.settings(name).given)


def read_queue(sweep: Sweep) -> dict[str, str]:
    """SLURM's state of each job by id, in lower case; `running` for local jobs whose process is alive.

    Raises:
        UserError: SLURM does not answer.
    """
    jobs = read_jobs(sweep).values()
    found = {}
    if any(job["executor"] == "slurm" for job in jobs):
        answer = ask("squeue", "--noheader", "--array", "--states=all", f"--name={sweep.job_name}", "--format=%i|%T")
        if answer is None or answer[0]:
            raise UserError("squeue", answer[1] if answer else "no answer", "states of jobs", "try again later")
        found = dict(line.lower().split("|") for line in answer[1].splitlines() if "|" in line)
    for job in jobs:
        if job["executor"] == "local" and _lives(job["job"], sweep.folder):
            found[job["job"]] = "running"
    return found


def _state_of(sweep: Sweep, name: str, queued: str) -> str:
    if queued in UNDER_WAY:
        return queued
    if is_done(sweep, name):
        return "done"
    if sweep.layout.head_file(name, "stopped.json").is_file():
        return "diverged"
    return queued or "not running"


def _lives(pid: str, folder: Path) -> bool:
    """Whether the controller process of a local job is alive and belongs to this sweep."""
    try:
        return str(folder / "submitit") in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
