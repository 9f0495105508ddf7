"""Checks before the first job of a run starts; all problems are reported at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nearid.config import check_members, check_missing, check_sizes
from nearid.config.inputs import missing_paths
from nearid.config.types import Config
from nearid.doctor.slurm_checks import (
    ELSEWHERE,
    Request,
    find_time_limits,
    read_routes,
    refuse_arrays,
    refuse_shell_text,
    refuse_unfit,
)
from nearid.errors import UserError
from nearid.layout import Layout
from nearid.workflow.steps import RULES

logger = logging.getLogger(__name__)


def check_own_paths(config: Config, layout: Layout) -> None:
    """Check that the files and folders that the config names exist, also in a dry run.

    Raises:
        UserError: one does not exist, and did not exist in an earlier run either.
    """
    gone = {}
    for key, path in missing_paths(config).items():
        if path and layout.file_list(path).is_file():
            logger.warning("%s: %s is not there any more; what is made of it stays as it is", key, path)
        else:
            gone[key] = path
    if gone:
        check_missing(config, gone=gone)


def find_obstacles(config: Config, workflow: Any) -> list[str]:
    """Errors: members that do not exist, missing files, and jobs that the cluster would refuse.

    Args:
        config: checked and complete.
        workflow: Snakemake's, with its graph of jobs.
    """
    # Only downloads that this run fetches: targets that were named may need few of them.
    jobs = workflow.dag.needrun_jobs()
    fetched = {job.wildcards.download for job in jobs if job.rule.name == "fetch_download"}
    checks: tuple[Callable[[], None], ...] = (
        lambda: check_members(config),
        lambda: check_sizes(config),
        lambda: check_missing(config, fetching=fetched),
        lambda: _check_cluster(workflow),
    )
    wrong = []
    for check in checks:
        try:
            check()
        except UserError as error:
            wrong.append(str(error))
    return wrong


def is_on_slurm(workflow: Any) -> bool:
    """Whether Snakemake submits its jobs to SLURM."""
    return workflow.executor_plugin is not None and workflow.executor_plugin.name == "slurm"


def _check_cluster(workflow: Any) -> None:
    """Refuse what SLURM would reject, or leave waiting for ever."""
    if not is_on_slurm(workflow):
        return
    refuse_shell_text([*workflow.configfiles, str(Path.cwd())])
    jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    settings, limit = workflow.executor_settings, workflow.scheduling_settings.max_jobs_per_timespan
    if settings.array_jobs:
        most = limit.max_jobs if limit else None
        refuse_arrays(len(jobs), workflow.resource_settings.nodes, most, settings.status_command)
    refuse_unfit(_read_requests(workflow))


def allowed_minutes(workflow: Any) -> dict[str, float]:
    """Minutes that SLURM allows for a job, by step; steps for which that is not known are left out."""
    limits: dict[str, float] = {}
    for rule, minutes in find_time_limits(_read_requests(workflow)).items():
        step = RULES[rule].name
        limits[step] = min(minutes, limits.get(step, minutes))
    return limits


def _read_requests(workflow: Any) -> Iterator[Request]:
    """What the jobs that are submitted to this cluster request."""
    # With a partition file the plugin chooses one of its partitions for each job.
    routes = read_routes(workflow.executor_settings.partition_config or os.environ.get("SNAKEMAKE_SLURM_PARTITIONS"))
    for job in workflow.dag.needrun_jobs():
        if job.is_local:
            continue
        # A job in a group requests what its group requests.
        asked = (workflow.dag.get_job_group(job) or job).resources
        if not any(asked.get(name) for name in ELSEWHERE):
            yield Request(
                job.rule.name,
                str(asked.get("slurm_partition") or routes),
                asked.get("runtime") or 0,
                asked.get("gpu") or 0,
                str(asked.get("slurm_account") or ""),
                str(asked.get("gpu_model") or ""),
            )
