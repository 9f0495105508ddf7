# What all files here share: the checked config, and what rules ask for by a step's name (nearid.workflow). Nothing heavy
# is imported here, since every job of a cluster parses the workflow again.
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

# Snakemake starts itself again in each job of a cluster, so that its own environment says so too.
os.environ.update(PYTHONSAFEPATH="1")
shell.prefix(
    export_line(
        ROOT / "src",
        own_python=not workflow.deployment_settings.deployment_method,
    )
)


@contextmanager
def told():
    """A mistake of the user's is told in four lines."""
    try:
        yield
    except UserError as error:
        raise WorkflowError(f"\n{error}") from None


with told():
    # Snakemake has merged them; a key that stands twice in one of them is lost by then.
    for file in workflow.configfiles:
        read_yaml(Path(file), "a YAML mapping")
    config = nearid.config.complete(config)
    # In each job of a run the same is missing as where it started, since what can be had is fetched or there.
    if config["on_missing"] == "gap":
        nearid.config.leave_out_missing(config)

LAYOUT = Layout(nearid.config.results_folder(config))


# On one machine as many GPU jobs as it has GPUs; with a cluster's executor (it has nodes) each node hands out its own.
if workflow.resource_settings.nodes is None and visible_gpus(os.environ):
    if "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", visible_gpus(os.environ))


# Jobs of a group (`RULES.group`) run one after the other: the group asks for the memory, cores and GPUs of the largest,
# and the time of all. A cluster's executor has nodes; in the group's own job there are no cores for more than one.
if workflow.resource_settings.nodes is not None:
    workflow.register_resource("in_turn", 1)


# Of each group, not of all that are on the cluster.
resource_scopes:
    in_turn="local",


wildcard_constraints:
    **WILDCARDS,


def note_in_cache(path):
    """Snakemake looks through a folder once, as long as it has time for that, and then takes a new file for missing."""
    cache = workflow.iocache
    cache.exists_local[path] = True
    for known in (cache.mtime, cache.size, cache.checksum):
        known.pop(path, None)


@functools.cache
def file_list(path):
    """The list that stands for a file or folder of the user among the inputs (docs/reruns.md).

    It is looked after where the workflow is planned; a job, of which a cluster may start thousands, takes it as it is.
    """
    target = LAYOUT.file_list(path)
    # Results outlive the photographs that they are of; a step that needs these again says that they are gone.
    if Path(path).exists() and (workflow.is_main_process or not target.is_file()):
        try:
            refresh_list(target, Path(path))
            note_in_cache(str(target))
        except OSError as error:
            # An exception here would count as a rule that makes nothing, in silence where its results are there.
            print(f"{path}: not looked after ({error})", file=sys.stderr, flush=True)
    return str(target)


def group_sizes():
    """How many short jobs share one of the cluster, by group (`--group-components`)."""
    arrays = getattr(workflow.executor_settings, "array_jobs", None)
    return leave_out_arrays(workflow.group_settings.group_components, arrays or "")


# Each job of a cluster parses the workflow again, and finds here what planning has found.
KEPT = Kept(Path(".snakemake/nearid_fingerprints.json"))
atexit.register(KEPT.save)
RULES = Rules(Graph(config, LAYOUT, listed=file_list, kept=KEPT), group_sizes)
FILES = RULES.files


def costly(path):
    """Write-protect what cost GPU hours, where the config says so."""
    return protected(str(path)) if config["protect"] else str(path)


def prepare_run():
    """What must hold before the first job; a cluster's jobs and dry runs come by no hook and are let in."""
    if wrong := find_obstacles(config, workflow):
        raise WorkflowError("\n" + "\n\n".join(wrong))
    # One run at a time in this results folder.
    with told():
        run_lock.hold(LAYOUT.root)
    if is_on_slurm(workflow):
        find_first(ROOT / "slurm/bin")  # an sbatch that has patience
        RULES.allowed_minutes = allowed_minutes(workflow)
    KEPT.save()


if workflow.is_main_process:
    wake_once(JobScheduler)
    with told():
        check_own_paths(config, LAYOUT)
