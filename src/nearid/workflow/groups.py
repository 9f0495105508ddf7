"""Short jobs that share a job of the cluster: Snakemake's groups, as large as a profile's `group-components` say."""

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
    """The group of a job: its step, apart for jobs with a GPU, which others would keep idle.

    Args:
        job: one that goes to the cluster.
        sizes: how many jobs share one, by group; there is no group without a size.
    """
    name = f"{RULES[job.rule].name}_gpu" if needs_of(job).gpus else RULES[job.rule].name
    return name if sizes.get(name, 1) > 1 and is_short(job) else None


def count_submissions(jobs: Iterable[Job], sizes: Mapping[str, int]) -> int:
    """How many jobs of the cluster these are."""
    groups = Counter(group_of(job, sizes) for job in jobs if not RULES[job.rule].local)
    return sum(math.ceil(count / sizes[name]) if name else count for name, count in groups.items())


def leave_out_arrays(sizes: Mapping[str, int], arrays: str) -> dict[str, int]:
    """The groups of jobs that are not submitted as arrays: the SLURM plugin makes no arrays of groups.

    Args:
        sizes: of the profile.
        arrays: rules as `--slurm-array-jobs` names them: `all`, or with commas between.
    """
    named = {name.strip() for name in arrays.split(",")}
    return (
        {} if "all" in named else {name: size for name, size in sizes.items() if name.removesuffix("_gpu") not in named}
    )


def read_sizes(profile: Path) -> dict[str, int]:
    """The groups of a profile; none where it is not there."""
    settings = (yaml.safe_load(profile.read_text()) if profile.is_file() else None) or {}
    return dict(settings.get("group-components") or {})
