# What all files here share: the checked config, paths, params and inputs. Nothing heavy is imported here, since every
# job of a cluster parses the workflow again.
import atexit
import functools
import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.scheduling.job_scheduler import JobScheduler

ROOT = Path(workflow.basedir)
ROOT = ROOT if (ROOT / "src").is_dir() else ROOT.parent
sys.path.insert(0, str(ROOT / "src"))

import nearid.config
from nearid.cluster import run_lock
from nearid.cluster.gpus import visible_gpus
from nearid.cluster.jobs import Jobs
from nearid.cluster.needs import needs_of
from nearid.cluster.slurm_checks import (
    Request,
    find_first,
    refuse_arrays,
    refuse_shell_text,
    refuse_unfit,
)
from nearid.cluster.wakeups import wake_once
from nearid.config.inputs import missing_paths
from nearid.config.kept import Kept
from nearid.errors import UserError
from nearid.io.file_lists import refresh_list
from nearid.layout import Layout
from nearid.workflow.graph import Graph, JobId
from nearid.workflow.steps import RULES, STEPS, WILDCARDS

# The package of this checkout, with the Python that runs Snakemake unless other environments are in use; only
# fetch_download may ask the hub.
OWN_PYTHON = (
    ""
    if workflow.deployment_settings.deployment_method
    else f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
)
OFFLINE = "HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1"
# A rule's threads decode images. Sums stay on one, which a profile's threads must not change: others give other bits.
SUMS = "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1"
# Modules are looked for in no working directory: a `yaml.py` there is a file like any other. Snakemake starts itself
# again in each job of a cluster, so that its environment says so too.
os.environ.update(PYTHONSAFEPATH="1")
OWN_PATHS = (
    f"PYTHONPATH={shlex.quote(str(ROOT / 'src'))} PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1"
)
PREFIX = f"export {OWN_PATHS} {OFFLINE} {SUMS} {OWN_PYTHON}; "
# Snakemake fills in braces.
shell.prefix(PREFIX.replace("{", "{{").replace("}", "}}"))

try:
    config = nearid.config.complete(config)
    # In each job of a run the same is missing as where it started, since what can be had is fetched or there.
    if config["on_missing"] == "gap":
        nearid.config.leave_out_missing(config)
except UserError as error:
    raise WorkflowError(f"\n{error}") from None

SELECT = config["select"]
RESULTS = str(nearid.config.results_folder(config))
LAYOUT = Layout(RESULTS)


# On one machine as many GPU jobs as it has GPUs; with a cluster's executor (it has nodes) each node hands out its own.
if workflow.resource_settings.nodes is None and visible_gpus(os.environ):
    if "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", visible_gpus(os.environ))


wildcard_constraints:
    **WILDCARDS,


def refuse_what_cannot_run():
    """Stop before any job, with all that is wrong at once: what is not written yet, missing, or refused by the cluster."""
    wrong = []
    for check in (
        nearid.config.check_members,
        nearid.config.check_sizes,
        check_missing,
        check_cluster,
    ):
        try:
            check(config)
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise WorkflowError("\n" + "\n\n".join(wrong))


def keep_others_out():
    """One run at a time in this results folder; a cluster's jobs and dry runs come by no hook and are let in."""
    try:
        run_lock.hold(LAYOUT.root)
    except UserError as error:
        raise WorkflowError(f"\n{error}") from None


def refuse_missing_paths():
    """Stop while planning when the config names what is not there, and was not there for an earlier run either."""
    gone = {}
    for key, path in missing_paths(config).items():
        if not path or not LAYOUT.file_list(path).is_file():
            gone[key] = path
            continue
        print(
            f"{key}: {path} is not there any more; what is made of it stays as it is",
            file=sys.stderr,
        )
    if not gone:
        return
    try:
        nearid.config.check_missing(config, gone=gone)
    except UserError as error:
        raise WorkflowError(f"\n{error}") from None


def check_missing(config):
    """What cannot be had of what this run reads: targets that were asked for by name may need little of it."""
    jobs = workflow.dag.needrun_jobs()
    fetched = {
        job.wildcards.download for job in jobs if job.rule.name == "fetch_download"
    }
    nearid.config.check_missing(config, fetching=fetched)


def on_slurm():
    return (
        workflow.executor_plugin is not None
        and workflow.executor_plugin.name == "slurm"
    )


def check_cluster(config):
    """What SLURM would refuse, or let wait for ever."""
    if not on_slurm():
        return
    refuse_shell_text([*workflow.configfiles, os.getcwd()])
    check_arrays()
    # With a file of partitions the plugin chooses one for each job.
    if workflow.executor_settings.partition_config:
        return
    requests = [
        Request(
            job.rule.name,
            str(job.resources.get("slurm_partition") or ""),
            job.resources.get("runtime") or 0,
            job.resources.get("gpu") or 0,
            str(job.resources.get("slurm_account") or ""),
        )
        for job in workflow.dag.needrun_jobs()
        if not job.is_local
    ]
    refuse_unfit(requests)


def check_arrays():
    """What the plugin's job arrays need."""
    settings, limit = (
        workflow.executor_settings,
        workflow.scheduling_settings.max_jobs_per_timespan,
    )
    if settings.array_jobs:
        refuse_arrays(
            sum(not job.is_local for job in workflow.dag.needrun_jobs()),
            workflow.resource_settings.nodes,
            limit.max_jobs if limit else None,
            settings.status_command,
        )


def prepare_slurm():
    """Give sbatch patience."""
    if on_slurm():
        find_first(ROOT / "slurm/bin")


# The model of the workflow (nearid.workflow): rules ask it for inputs, settings, code, logs and needs by a step's name.
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


# Each job of a cluster parses the workflow again, and finds here what planning has found.
KEPT = Kept(Path(".snakemake/nearid_fingerprints.json"))
atexit.register(KEPT.save)
GRAPH = Graph(config, LAYOUT, listed=file_list, kept=KEPT)
FILES = GRAPH.files
JOBS = Jobs(config, LAYOUT, GRAPH)


def of_job(find):
    """A function of a job's ids as Snakemake calls it, with wildcards."""
    return lambda wildcards: find(**dict(wildcards.items()))


def paths(find):
    """What `find` lists, not before it is asked for."""
    return lambda wildcards: [str(path) for path in find()]


def inputs(step):
    """All that a job of the step reads, but what `untimed` names."""
    return of_job(functools.partial(GRAPH.inputs, step))


def untimed(step):
    """Inputs that must be there, and whose times make nothing anew."""
    return ancient(of_job(functools.partial(GRAPH.ancient, step)))


# params: only what a step reads, so that a changed setting re-runs just the steps that use it
def results_folder(wildcards):
    return RESULTS


def settings(step):
    """The step's settings as one JSON argument."""
    return of_job(lambda **ids: json.dumps(GRAPH.settings(step, **ids), sort_keys=True))


def code(step):
    """A hash of the code that the step runs: Snakemake does not see edits in an imported package."""
    return of_job(functools.partial(GRAPH.code, step))


def mirror(wildcards, threads):
    """Where from, if not from the hub; no trigger, since it depends on threads: the content is the same."""
    return ["--mirror", config["mirror"]] if config["mirror"] else []


def joined_parts(wildcards, input):
    """No trigger, since it depends on the input: how a shard is painted changes nothing in it."""
    parts = FILES.parts(wildcards.source, wildcards.shard)
    return ["--join", str(parts)] if parts > 1 else []


@functools.cache
def companions_of(ablation):
    return nearid.config.companions_of(config, ablation)


def companions(wildcards, threads):
    """The heads that train with an ablation's, as one JSON argument; no trigger, since it depends on threads."""
    return json.dumps(companions_of(wildcards.ablation), sort_keys=True)


def scored_along(benchmark):
    """The scorers that are scored with one, as one JSON argument; like `companions` no trigger."""
    return lambda wildcards, threads: json.dumps(
        nearid.config.scored_along(config, wildcards.scorer, benchmark), sort_keys=True
    )


def packed_heads(wildcards):
    return int(bool(companions_of(wildcards.ablation)))


def launcher(wildcards, resources, threads):
    """Where a cluster's profile gives training several ranks (`mpi`, `tasks`, `nodes`), a step of srun starts them."""
    if not resources.get("mpi"):
        return []
    return [
        *shlex.split(resources.mpi),
        f"--nodes={resources.get('nodes', 1)}",
        f"--ntasks={resources.tasks}",
        f"--cpus-per-task={threads}",
    ]


def log_of(rule):
    return str(LAYOUT.log(RULES[rule].stage, rule, RULES[rule].job))


def benchmark_of(rule):
    return str(LAYOUT.benchmark(RULES[rule].stage, rule, RULES[rule].job))


# resources: what the table of steps and the work of a job say (nearid.cluster.needs), more with each attempt; a
# cluster's own are in slurm/config.yaml
@functools.cache
def needs(step, **ids):
    return needs_of(JOBS.describe(JobId(STEPS[step], tuple(ids.items()))))


def memory(step):
    return lambda wildcards, attempt: (
        needs(step, **dict(wildcards.items())).memory_mb * attempt
    )


def minutes(step):
    return lambda wildcards, attempt: (
        needs(step, **dict(wildcards.items())).minutes * attempt
    )


def gpus(step):
    return of_job(lambda **ids: needs(step, **ids).gpus)


def decoders(wildcards):
    """Threads that decode and preprocess ahead of a GPU; a core that computes the tokens itself needs no other."""
    return 8 if gpus("extract_tokens")(wildcards) else 1


def costly(path):
    """Write-protect what cost GPU hours, where the config says so."""
    return protected(str(path)) if config["protect"] else str(path)


def those(names, which, wanted):
    """The ids for which `which` is as `wanted`, as a wildcard's pattern."""
    return "|".join(name for name in names if which(name) == wanted) or "(?!)"


if workflow.is_main_process:
    wake_once(JobScheduler)
    refuse_missing_paths()
