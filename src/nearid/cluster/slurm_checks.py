"""Checks of a SLURM cluster against the profile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from nearid.cluster.findings import Finding, ask, brief


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
        mine = ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", "format=account")
        if mine and not mine[0] and account not in mine[1].split():
            yield Finding(
                "account", "fault", f"{account} is not yours", f"one of {', '.join(sorted(set(mine[1].split())))}"
            )
    status = str(settings.get("slurm-status-command", "sacct"))
    answer = ask(status, *(["--noheader"] if status in ("sacct", "squeue") else []))
    if answer is None or answer[0]:
        said = "no answer" if answer is None else brief(answer[1])
        action = "set slurm-status-command: squeue and slurm-no-account: true in slurm/config.yaml"
        yield Finding("job status", "fault", f"{status}: {said}", action)
    else:
        yield Finding("job status", "fine", f"{status} answers")
