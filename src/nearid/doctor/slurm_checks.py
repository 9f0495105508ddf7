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

ELSEWHERE = {"slurm_cluster", "cluster", "clusters"}
"""Names of the plugin for another cluster than the one that answers here."""


@dataclass(frozen=True)
class Request:
    """What a job requests from the cluster.

    Attributes:
        rule: of the job.
        partition: one, or several with commas between, any of which will do; empty: the cluster's default one.
        minutes: its time limit.
        gpus: how many.
        account: one, or several with commas or blanks between; empty: the user's default one.
        gpu_model: of the GPUs; empty for any.
    """

    rule: str
    partition: str
    minutes: float
    gpus: int
    account: str = ""
    gpu_model: str = ""


@dataclass(frozen=True)
class Partition:
    """What a partition allows: minutes, and models of its GPUs (empty for one that the cluster does not name)."""

    name: str
    default: bool
    minutes: float
    gpus: frozenset[str]


def refuse_unfit(requests: Iterable[Request]) -> None:
    """Refuse a run before its first submission if the cluster would reject a job, or leave it waiting for ever.

    If the cluster does not answer, nothing is checked: sbatch will report problems.

    Raises:
        UserError: a partition or account does not exist, a time limit is too long, or a partition lacks the GPUs.
    """
    partitions = read_partitions()
    if not partitions:
        return
    accounts: set[str] = set()
    problems: dict[str, str] = {}
    for request in requests:
        problems |= _find_problems(request, partitions)
        accounts |= _split_accounts(request.account)
    mine = _associations() if accounts else set()
    for account in sorted(accounts - mine) if mine else ():
        problems[f"account {account} is not yours"] = f"`slurm_account`, one of {', '.join(sorted(mine))}"
    if problems:
        raise UserError(
            "slurm/config.yaml and this cluster",
            "; ".join(problems),
            "; ".join(dict.fromkeys(problems.values())),
            "change the profile, or give --default-resources or --set-resources",
        )


def find_time_limits(requests: Iterable[Request]) -> dict[str, float]:
    """Minutes that the cluster allows for a job, by rule; empty if it does not answer."""
    partitions = read_partitions()
    limits: dict[str, float] = {}
    for request in requests:
        if able := _able(request, partitions):
            most = max(own.minutes for own in able)
            limits[request.rule] = min(most, limits.get(request.rule, most))
    return limits


def _find_problems(request: Request, partitions: list[Partition]) -> dict[str, str]:
    """What the cluster cannot give of a request, and what it could give instead."""
    rule, name = request.rule, request.partition or "the default partition"
    known = [own.name for own in partitions]
    listed = f"`slurm_partition`, one of {', '.join(known)}"
    gone = [own for own in _split_partitions(request.partition) if own not in known]
    if gone:
        return {f"partition {own} is not on this cluster": listed for own in gone}
    wanted, able = _named(request, partitions), _able(request, partitions)
    models = {model for own in wanted for model in own.gpus}
    if not wanted:
        return {"no partition is named, and the cluster has no default one": listed}
    if request.gpus and not models:
        there = ", ".join(own.name for own in partitions if own.gpus) or "none: this cluster has no GPUs"
        return {f"{rule} asks for a GPU, {name} has none": f"a partition with GPUs ({there})"}
    if not able:
        there = f"`gpu_model`, one of {', '.join(sorted(models))}"
        return {f"{rule} asks for a GPU {request.gpu_model}, {name} has none": there}
    most = max(own.minutes for own in able)
    if request.minutes > most:
        longer = f"a longer partition, or `--set-resources {rule}:runtime={most:.0f}` (long steps resume)"
        return {f"{rule} asks for {request.minutes:.0f} minutes, {name} allows {most:.0f}": longer}
    return {}


def _named(request: Request, partitions: list[Partition]) -> list[Partition]:
    """The partitions that a request names, or the cluster's default one."""
    names = _split_partitions(request.partition)
    return [own for own in partitions if (own.name in names if names else own.default)]


def _able(request: Request, partitions: list[Partition]) -> list[Partition]:
    """Those of them with the requested GPUs; GPUs whose model the cluster does not name may be of any model."""
    named = _named(request, partitions)
    if request.gpus and request.gpu_model:
        return [own for own in named if own.gpus & {request.gpu_model, ""}]
    return [own for own in named if own.gpus or not request.gpus]


def _split_partitions(names: str) -> list[str]:
    return [name for name in names.split(",") if name]


def _split_accounts(names: str) -> set[str]:
    """Accounts in lower case, as SLURM and its plugin use them."""
    return {name.lower() for name in re.split(r"[,\s]+", names) if name}


def read_routes(file: Path | str | None) -> str:
    """The partitions in a file for --slurm-partition-config, with commas between; empty without a file."""
    listed = (yaml.safe_load(Path(file).read_text()) or {}).get("partitions") if file and Path(file).is_file() else {}
    return ",".join(str(name) for name, limits in (listed or {}).items() if not ELSEWHERE & set(limits or ()))


def refuse_arrays(jobs: int, at_a_time: int, per_timespan: int | None, status_command: str) -> None:
    """Refuse a run whose array jobs the SLURM plugin (2.8.0) would lose and wait for without end.

    The plugin submits a rule's jobs that it was given as an array only if they are more than those still to come;
    jobs that it held back are never given to it again. Its call of `sacct` lists array tasks under other numbers than
    it looks for.

    Args:
        jobs: number of the run's cluster jobs.
        at_a_time: how many Snakemake may have on the cluster at a time.
        per_timespan: how many it may hand to the plugin in the span of its rate limit; None: there is no such limit.
        status_command: the command that the plugin asks for states.

    Raises:
        UserError: not all jobs may start at once, or states of tasks would not be known.
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
    """Refuse a path of an overlay or of the checkout that a shell would interpret inside double quotes.

    The plugin puts each job's command, which has the paths of config files in it, between double quotes.

    Raises:
        UserError: a path has `$`, a backquote, a double quote or a backslash.
    """
    for path in map(str, paths):
        if re.search(r"[$`\"\\]", path):
            expected = "no $, backquote, double quote or backslash in it: the shell that submits jobs would obey them"
            raise UserError(path, "the name of a file or folder that a shell would read", expected, "rename it")


def find_first(programs: Path) -> None:
    """Put a folder of programs first in this process's PATH, and its `accounting` if the cluster has `sacct`."""
    folders = [programs, programs / "accounting"] if shutil.which("sacct") else [programs]
    os.environ["PATH"] = os.pathsep.join([*map(str, folders), os.environ["PATH"]])


def read_partitions() -> list[Partition]:
    """The cluster's partitions, hidden ones too; empty if `sinfo` does not answer."""
    found: dict[str, Partition] = {}
    for group in read_groups():
        before = found[group.partition].gpus if group.partition in found else frozenset()
        gpus = before | _models(group.gres)
        found[group.partition] = Partition(group.partition, group.default, group.minutes, gpus)
    return list(found.values())


@dataclass(frozen=True)
class Group:
    """Similar nodes of a partition: its time limit, their number, and CPUs, memory and GPUs (as in SLURM) of each."""

    partition: str
    default: bool
    minutes: float
    nodes: int
    cpus: int
    memory_mb: int
    gres: str


def read_groups() -> list[Group]:
    """The cluster's nodes by partition and kind; empty if `sinfo` does not answer."""
    answer = ask("sinfo", "--all", "--noheader", "--format=%P|%l|%D|%c|%m|%G")
    if answer is None or answer[0]:
        return []
    groups = []
    for line in answer[1].splitlines():
        name, limit, nodes, cpus, memory, gres = line.split("|")
        # `64+` means at least 64.
        count, each, mb = (int(word.rstrip("+")) for word in (nodes, cpus, memory))
        gpus = gres if "gpu" in gres else ""
        groups.append(Group(name.rstrip("*"), name.endswith("*"), minutes_of(limit), count, each, mb, gpus))
    return groups


def _models(gres: str) -> frozenset[str]:
    """Models of GPUs in a node's `gpu:a100:4(S:0-1),gpu:2`: a100, and an empty one for those without a name."""
    words = [word.split(":") for word in re.sub(r"\(.*?\)", "", gres).split(",")]
    return frozenset(
        word[1] if len(word) > 1 and not word[1].isdecimal() else "" for word in words if word[0].strip() == "gpu"
    )


def minutes_of(limit: str) -> float:
    """Minutes of a time limit in SLURM's form `days-hours:minutes:seconds`; infinite if it has another form."""
    if not re.fullmatch(r"[\d:-]+", limit):
        return float("inf")
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = [0] * (3 - len(parts)) + parts
    return 1440 * int(days or 0) + 60 * hours + minutes + seconds / 60


def _associations() -> set[str]:
    """The user's accounts; empty if there is no accounting."""
    mine = ask_associations("account")
    return set() if mine is None or mine[0] else set(mine[1].lower().split())


def ask_associations(*columns: str) -> tuple[int, str] | None:
    """Exit code and output of `sacctmgr` about the user's associations; without a name it would list everybody's."""
    who = ask("id", "--user", "--name")
    wanted = ("where", f"user={who[1] if who else ''}", f"format={','.join(columns)}")
    return ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", *wanted)


def check_slurm(profile: Path) -> Iterator[Finding]:
    """Check commands, partition, account and status command of the profile; no call may hang."""
    missing = [name for name in ("sbatch", "squeue", "scancel", "sinfo") if shutil.which(name) is None]
    if missing:
        yield Finding("slurm", "fault", f"no {', '.join(missing)}", "run it on a login node")
        return
    settings = yaml.safe_load(profile.read_text()) if profile.is_file() else {}
    defaults = settings.get("default-resources") or {}
    known = ask("sinfo", "--all", "--noheader", "--format=%R")
    partitions = sorted(set((known[1] if known else "").split()))
    routes = settings.get("slurm-partition-config")
    named = str(defaults.get("slurm_partition") or "") or read_routes(routes)
    gone = [name for name in _split_partitions(named) if name not in partitions]
    if known is None or known[0]:
        yield Finding("slurm", "fault", f"sinfo: {brief(known[1]) if known else 'no answer'}", "ask your admins")
    elif routes and not Path(routes).is_file():
        yield Finding("partition", "fault", f"no file {routes}", f"correct slurm-partition-config in {profile}")
    elif gone:
        action = f"one of {', '.join(partitions)} in {profile}"
        yield Finding("partition", "fault", f"{', '.join(gone)} is not on this cluster", action)
    else:
        yield Finding("partition", "fine", named or f"the default of {', '.join(partitions)}")
    accounts = _split_accounts(str(defaults.get("slurm_account") or ""))
    mine = _associations() if accounts else set()
    if mine and accounts - mine:
        found = f"{', '.join(sorted(accounts - mine))} is not yours"
        yield Finding("account", "fault", found, f"one of {', '.join(sorted(mine))}")
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
    """Check how long the controller remembers a finished job; Snakemake may ask for it three minutes later."""
    config = ask("scontrol", "show", "config")
    age = re.search(r"MinJobAge\s*=\s*(\d+)", config[1]) if config else None
    if age and int(age[1]) < 300:
        action = "use accounting (slurm-status-command: sacct), or ask your admins for MinJobAge=300"
        yield Finding("job status", "fault", f"the controller forgets a job after {age[1]} s", action)
