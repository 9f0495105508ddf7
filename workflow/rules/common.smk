# What the other files here share: the checked config, and the functions that rules use by step name (nearid.workflow).
# Nothing heavy is imported here, since every cluster job parses the workflow again.
import atexit
import functools
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.scheduling.job_scheduler import JobScheduler

ROOT = Path(workflow.basedir)
ROOT = ROOT if (ROOT / "src").is_dir() else ROOT.parent
sys.path.insert(0, str(ROOT / "src"))

import nearid.config
from nearid.config.kept import Kept
from nearid.distributed.gpus import visible_gpus
from nearid.doctor.slurm_checks import find_first
from nearid.doctor.start import (
    allowed_minutes,
    check_own_paths,
    find_obstacles,
    is_on_slurm,
)
from nearid.errors import UserError
from nearid.io.file_lists import refresh_list
from nearid.io.yaml_files import read_yaml
from nearid.layout import Layout
from nearid.workflow import run_lock
from nearid.workflow.environment import export_line
from nearid.workflow.graph import Graph
from nearid.workflow.groups import leave_out_arrays
from nearid.workflow.rules import Rules, those
from nearid.workflow.step import WILDCARDS
from nearid.workflow.wakeups import wake_once

# Set here too, since Snakemake starts itself again in each cluster job.
os.environ.update(PYTHONSAFEPATH="1")
shell.prefix(
    export_line(
        ROOT / "src",
        own_python=not workflow.deployment_settings.deployment_method,
    )
)


@contextmanager
def told():
    """Turn an error of the user's into Snakemake's, with its four lines."""
    try:
        yield
    except UserError as error:
        raise WorkflowError(f"\n{error}") from None


with told():
    # Snakemake has merged the files already, which hides keys that occur twice in one of them.
    for file in workflow.configfiles:
        read_yaml(Path(file), "a YAML mapping")
    config = nearid.config.complete(config)
    # Each job of a run finds the same things missing as its start did: whatever can be fetched was there or is fetched.
    if config["on_missing"] == "gap":
        nearid.config.leave_out_missing(config)

LAYOUT = Layout(nearid.config.results_folder(config))


# On one machine, as many GPU jobs as it has GPUs; with a cluster's executor (it has nodes), the scheduler assigns them.
if workflow.resource_settings.nodes is None and visible_gpus(os.environ):
    if "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", visible_gpus(os.environ))


# Jobs of a group (`RULES.group`) run one after the other, so that a group requests memory, cores and GPUs of its
# largest job, and the time of all. Only with a cluster's executor (it has nodes): in the group's own job, the cores
# suffice for one job at a time anyway.
if workflow.resource_settings.nodes is not None:
    workflow.register_resource("in_turn", 1)


# The limit holds in each group, not for all jobs on the cluster.
resource_scopes:
    in_turn="local",


wildcard_constraints:
    **WILDCARDS,


def note_in_cache(path):
    """Enter a new file in Snakemake's cache of a folder, which is read once and would report the file as missing."""
    cache = workflow.iocache
    cache.exists_local[path] = True
    for known in (cache.mtime, cache.size, cache.checksum):
        known.pop(path, None)


@functools.cache
def file_list(path):
    """The list that stands for a file or folder of the user among the inputs (docs/reruns.md).

    It is updated where the workflow is planned; jobs, of which a cluster may start thousands, use it as it is.
    """
    target = LAYOUT.file_list(path)
    # Results may outlive the photographs that they were made from; a step that needs them reports it.
    if Path(path).exists() and (workflow.is_main_process or not target.is_file()):
        try:
            refresh_list(target, Path(path))
            note_in_cache(str(target))
        except OSError as error:
            # An exception here would make Snakemake drop the rule, without a word if the rule's results exist.
            print(f"{path}: not looked after ({error})", file=sys.stderr, flush=True)
    return str(target)


def group_sizes():
    """How many short jobs share a cluster job, by group (`--group-components`)."""
    arrays = getattr(workflow.executor_settings, "array_jobs", None)
    return leave_out_arrays(workflow.group_settings.group_components, arrays or "")


# Every cluster job parses the workflow again, and finds here the fingerprints that planning has computed.
KEPT = Kept(Path(".snakemake/nearid_fingerprints.json"))
atexit.register(KEPT.save)
RULES = Rules(Graph(config, LAYOUT, listed=file_list, kept=KEPT), group_sizes)
FILES = RULES.files


def costly(path):
    """Write-protect results that took GPU hours, if the config says so."""
    return protected(str(path)) if config["protect"] else str(path)


def prepare_run():
    """Checks before the first job; the jobs of a cluster and dry runs do not call this hook."""
    if wrong := find_obstacles(config, workflow):
        raise WorkflowError("\n" + "\n\n".join(wrong))
    # Only one run at a time in this results folder.
    with told():
        run_lock.hold(LAYOUT.root)
    if is_on_slurm(workflow):
        find_first(ROOT / "slurm/bin")  # the wrapper of sbatch, which retries
        RULES.allowed_minutes = allowed_minutes(workflow)
    KEPT.save()


if workflow.is_main_process:
    wake_once(JobScheduler)
    with told():
        check_own_paths(config, LAYOUT)
