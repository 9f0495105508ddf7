"""Checks of a SLURM cluster against the profile, and of a run's jobs before the first is submitted."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from nearid.doctor.findings import Finding
from nearid.errors import UserError
from nearid.io.programs import ask, brief


@dataclass(frozen=True)
class Request:
    """What a job asks of the cluster: minutes and GPUs; no partition is the cluster's default one."""

    rule: str
    partition: str
    minutes: float
    gpus: int
    account: str


@dataclass(frozen=True)
class Partition:
    """What a partition allows."""

    name: str
    default: bool
    minutes: float
    gpus: bool


def refuse_unfit(requests: Iterable[Request]) -> None:
    """Stop before the first submission where the cluster would refuse a job, or let it wait for ever.

    A cluster that does not answer is not waited for: sbatch will tell.

    Raises:
        UserError: a partition or account that is not there, a time that is too long, a GPU where there is none.
    """
    partitions = read_partitions()
    if not partitions:
        return
    accounts: set[str] = set()
    problems: dict[str, str] = {}
    for request in requests:
        wanted = [
            own
            for own in partitions
            if (own.name in request.partition.split(",") if request.partition else own.default)
        ]
        name = request.partition or "the default partition"
        if not wanted:
            known = ", ".join(own.name for own in partitions)
            problems[f"partition {name} is not on this cluster"] = f"`slurm_partition`, one of {known}"
        elif request.gpus and not any(own.gpus for own in wanted):
            there = ", ".join(own.name for own in partitions if own.gpus) or "none: this cluster has no GPUs"
            problems[f"{request.rule} asks for a GPU, {name} has none"] = f"a partition with GPUs ({there})"
        elif request.minutes > max(own.minutes for own in wanted):
            most = max(own.minutes for own in wanted)
            problems[f"{request.rule} asks for {request.minutes:.0f} minutes, {name} allows {most:.0f}"] = (
                f"a longer partition, or `--set-resources {request.rule}:runtime={most:.0f}` (long steps resume)"
            )
        if request.account:
            accounts |= set(re.split(r"[,\s]+", request.account))
    mine = _associations() if accounts else set()
    for account in sorted(accounts - mine) if mine else ():
        problems[f"account {account} is not yours"] = f"`slurm_account`, one of {', '.join(sorted(mine))}"
    if problems:
        raise UserError(
            "slurm/config.yaml and this cluster",
            "; ".join(problems),
            "; ".join(problems.values()),
            "change the profile, or give --default-resources or --set-resources",
        )


def refuse_arrays(jobs: int, at_a_time: int, per_timespan: int | None, status_command: str) -> None:
    """Stop where the SLURM plugin (2.8.0) would lose jobs of arrays, and wait for them without end.

    Of the jobs of a rule that may start it submits an array only if it is given more than are left over, and does not
    ask again for those that it was given. `sacct`, as it asks, tells tasks of an array by numbers of their own.

    Args:
        jobs: how many go to the cluster in this run.
        at_a_time: how many Snakemake may have on the cluster at a time.
        per_timespan: how many it may give to the plugin in the span of its rate limit; None: there is no such limit.
        status_command: whom the plugin asks for states.

    Raises:
        UserError: fewer than all may start at once, or states of tasks would not be known.
    """
    found, action = [], []
    if at_a_time < jobs:
        found.append(f"{at_a_time} jobs at a time")
    if per_timespan is not None and per_timespan < jobs:
        found.append(f"{per_timespan} jobs in a span of time")
    if found:
        action.append(f"--jobs {jobs} --max-jobs-per-timespan {jobs}/10s")
    if status_command != "squeue":
        found.append(f"states by {status_command}, which does not know tasks of arrays by their number")
        action.append("--slurm-status-command squeue")
    if found:
        expected = f"that all {jobs} jobs may start at once, and states by squeue: the plugin loses others"
        raise UserError("--slurm-array-jobs", ", ".join(found), expected, f"give {' '.join(action)}")


def refuse_shell_text(paths: Iterable[object]) -> None:
    """Stop where the path of an overlay or of the checkout is something else to a shell between double quotes.

    The plugin puts each job's command between such, and the config files stand in it.

    Raises:
        UserError: a path with `$`, a backquote, a double quote or a backslash.
    """
    for path in map(str, paths):
        if re.search(r"[$`\"\\]", path):
            expected = "no $, backquote, double quote or backslash in it: the shell that submits jobs would obey them"
            raise UserError(path, "the name of a file or folder that a shell would read", expected, "rename it")


def find_first(programs: Path) -> None:
    """Let this process find the programs of a folder before others of their names."""
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"


def read_partitions() -> list[Partition]:
    """The cluster's partitions; empty where `sinfo` does not answer."""
    answer = ask("sinfo", "--noheader", "--format=%P|%l|%G")
    if answer is None or answer[0]:
        return []
    found: dict[str, Partition] = {}
    # A line per group of like nodes.
    for line in answer[1].splitlines():
        name, limit, gres = line.split("|")
        own = name.rstrip("*")
        gpus = "gpu" in gres or (own in found and found[own].gpus)
        found[own] = Partition(own, name.endswith("*"), minutes_of(limit), gpus)
    return list(found.values())


@dataclass(frozen=True)
class Group:
    """Nodes of a partition that are alike: minutes, and CPUs and memory of each."""

    partition: str
    minutes: float
    nodes: int
    cpus: int
    memory_mb: int
    gres: str


def read_groups() -> list[Group]:
    """The cluster's nodes by partition and kind; empty where `sinfo` does not answer."""
    answer = ask("sinfo", "--noheader", "--format=%R|%l|%D|%c|%m|%G")
    if answer is None or answer[0]:
        return []
    groups = []
    for line in answer[1].splitlines():
        name, limit, nodes, cpus, memory, gres = line.split("|")
        # `64+`: at least.
        count, each, mb = (int(word.rstrip("+")) for word in (nodes, cpus, memory))
        groups.append(Group(name, minutes_of(limit), count, each, mb, gres if "gpu" in gres else ""))
    return groups


def minutes_of(limit: str) -> float:
    """Minutes of SLURM's `days-hours:minutes:seconds`."""
    if not re.fullmatch(r"[\d:-]+", limit):
        return float("inf")
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = [0] * (3 - len(parts)) + parts
    return 1440 * int(days or 0) + 60 * hours + minutes + seconds / 60


def _associations() -> set[str]:
    """The accounts that are ours; empty where there is no accounting."""
    mine = ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", "format=account")
    return set() if mine is None or mine[0] else set(mine[1].split())


def check_slurm(profile: Path) -> Iterator[Finding]:
    """Commands, partition, account and the status command of the profile, none of which may hang."""
    missing = [name for name in ("sbatch", "squeue", "scancel", "sinfo") if shutil.which(name) is None]
    if missing:
        yield Finding("slurm", "fault", f"no {', '.join(missing)}", "run it on a login node")
        return
    settings = yaml.safe_load(profile.read_text()) if profile.is_file() else {}
    defaults = settings.get("default-resources") or {}
    known = ask("sinfo", "--noheader", "--format=%R")
    partitions = sorted(set((known[1] if known else "").split()))
    partition = str(defaults.get("slurm_partition", ""))
    if known is None or known[0]:
        yield Finding("slurm", "fault", f"sinfo: {brief(known[1]) if known else 'no answer'}", "ask your admins")
    elif partition and partition not in partitions:
        action = f"one of {', '.join(partitions)} in {profile}"
        yield Finding("partition", "fault", f"{partition} is not on this cluster", action)
    else:
        yield Finding("partition", "fine", partition or f"the default of {', '.join(partitions)}")
    account = str(defaults.get("slurm_account", ""))
    if account:
        mine = _associations()
        if mine and account not in mine:
            yield Finding("account", "fault", f"{account} is not yours", f"one of {', '.join(sorted(mine))}")
    status = str(settings.get("slurm-status-command", "sacct"))
    answer = ask(status, *(["--noheader"] if status in ("sacct", "squeue") else []))
    if answer is None or answer[0]:
        said = "no answer" if answer is None else brief(answer[1])
        action = "set slurm-status-command: squeue and slurm-no-account: true in slurm/config.yaml"
        yield Finding("job status", "fault", f"{status}: {said}", action)
    else:
        yield Finding("job status", "fine", f"{status} answers")
    if status == "squeue":
        yield from _check_memory()


def _check_memory() -> Iterator[Finding]:
    """How long the controller remembers a job that ended; Snakemake may ask for it three minutes later."""
    config = ask("scontrol", "show", "config")
    age = re.search(r"MinJobAge\s*=\s*(\d+)", config[1]) if config else None
    if age and int(age[1]) < 300:
        action = "use accounting (slurm-status-command: sacct), or ask your admins for MinJobAge=300"
        yield Finding("job status", "fault", f"the controller forgets a job after {age[1]} s", action)
