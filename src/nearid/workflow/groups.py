"""Groups: short jobs that share a cluster job, as many as a profile's `group-components` allow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from nearid.workflow.jobs import Job
from nearid.workflow.needs import is_short, needs_of
from nearid.workflow.steps import RULES


def group_of(job: Job, sizes: Mapping[str, int]) -> str | None:
    """The group of a job: its step. Jobs with a GPU have a group of their own, so that no other job keeps a GPU idle.

    Args:
        job: one that is submitted to the cluster.
        sizes: how many jobs share a cluster job, by group; without an entry, there is no group.
    """
    name = f"{RULES[job.rule].name}_gpu" if needs_of(job).gpus else RULES[job.rule].name
    return name if sizes.get(name, 1) > 1 and is_short(job) else None


def count_submissions(jobs: Iterable[Job], sizes: Mapping[str, int]) -> int:
    """How many cluster jobs these are."""
    groups = Counter(group_of(job, sizes) for job in jobs if not RULES[job.rule].local)
    return sum(math.ceil(count / sizes[name]) if name else count for name, count in groups.items())


def leave_out_arrays(sizes: Mapping[str, int], arrays: str) -> dict[str, int]:
    """`sizes` without the groups of rules that are submitted as arrays: the SLURM plugin makes no arrays of groups.

    Args:
        sizes: of the profile.
        arrays: the value of `--slurm-array-jobs`: `all`, or names of rules with commas between.
    """
    named = {name.strip() for name in arrays.split(",")}
    return (
        {} if "all" in named else {name: size for name, size in sizes.items() if name.removesuffix("_gpu") not in named}
    )


def read_sizes(profile: Path) -> dict[str, int]:
    """Group sizes of a profile; none if the file does not exist."""
    settings = (yaml.safe_load(profile.read_text()) if profile.is_file() else None) or {}
    return dict(settings.get("group-components") or {})
