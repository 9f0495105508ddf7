# What all files here share: the checked config, paths, params and inputs. Nothing heavy is imported here, since every
# job of a cluster parses the workflow again.
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
from nearid.cluster.needs import needs_of, needs_of_rule
from nearid.cluster.slurm_checks import Request, find_first, refuse_unfit
from nearid.cluster.wakeups import wake_once
from nearid.config.inputs import missing_paths, own_paths
from nearid.config.painting import parts_of_shard
from nearid.config.steps import (
    backbone_of,
    benchmarks_of,
    mix_of,
    step_settings,
    token_shards,
    training_of,
)
from nearid.errors import UserError
from nearid.io.file_lists import refresh_list
from nearid.layout import Layout, shard_ids

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
SHARDS = shard_ids(config["dataset"]["shards"])


# On one machine as many GPU jobs as it has GPUs; with a cluster's executor (it has nodes) each node hands out its own.
if workflow.resource_settings.nodes is None and visible_gpus(os.environ):
    if "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", visible_gpus(os.environ))


wildcard_constraints:
    source="[a-z0-9_]+",
    backbone="[a-z0-9_]+",
    collection="[a-z0-9_]+",
    ablation="[a-z0-9_]+",
    scorer="[a-z0-9_]+",
    table="[a-z0-9_]+",
    figure="[a-z0-9_]+",
    download="[a-z0-9_]+",
    split="train|test",
    shard=r"\d{3}",
    part=r"\d+",
    parts=r"\d+",


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
    # With a file of partitions the plugin chooses one for each job.
    if not on_slurm() or workflow.executor_settings.partition_config:
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


def prepare_slurm():
    """Give sbatch patience."""
    if on_slurm():
        find_first(ROOT / "slurm/bin")


# params: only what a step reads, so that a changed setting re-runs just the steps that use it
def results_folder(wildcards):
    return RESULTS


@functools.cache
def settings_of(step, **ids):
    """Every function of a job asks for them, so they are made once."""
    return step_settings(step, config, **ids)


def settings(step):
    """The step's settings as one JSON argument."""
    return lambda wildcards: json.dumps(
        settings_of(step, **dict(wildcards.items())), sort_keys=True
    )


def code(step):
    """A hash of the code that the step runs: Snakemake does not see edits in an imported package."""
    return lambda wildcards: nearid.config.step_code(
        step, settings_of(step, **dict(wildcards.items()))
    )


def fetched(step):
    """Marks of the downloads that the step's settings name."""
    return lambda wildcards: [
        f"resources/{name}/fetched.json"
        for name in nearid.config.required_downloads(
            settings_of(step, **dict(wildcards.items())), config
        )
    ]


def mirror(wildcards, threads):
    """Where from, if not from the hub; no trigger, since it depends on threads: the content is the same."""
    return ["--mirror", config["mirror"]] if config["mirror"] else []


def log_of(stage, step, name="all"):
    return str(LAYOUT.log(stage, step, name))


def benchmark_of(stage, step, name="all"):
    return str(LAYOUT.benchmark(stage, step, name))


# resources: what the plan's table says (nearid.cluster.needs), more with each attempt; a cluster's own are in
# slurm/config.yaml
JOBS = Jobs(config, LAYOUT)


@functools.cache
def needs_of_job(name, **ids):
    """Needs of the job of a rule for these wildcards."""
    job_of = {
        "inpaint_part": JOBS.painting,
        "inpaint_shard": JOBS.shard,
        "extract_tokens": JOBS.extraction,
        "train_head": JOBS.training,
        "score_nearid_bench": functools.partial(JOBS.scoring, benchmark="nearid_bench"),
        "score_mtg": functools.partial(JOBS.scoring, benchmark="mtg"),
        "score_dreambench": functools.partial(JOBS.scoring, benchmark="dreambench"),
    }.get(name)
    if name == "inpaint_shard":
        ids["parts"] = parts_of(ids["source"], ids["shard"])
    elif name == "inpaint_part":
        ids |= {"part": int(ids["part"]), "parts": int(ids["parts"])}
    return needs_of(job_of(**ids)) if job_of else needs_of_rule(name)


def needs(name, wildcards):
    return needs_of_job(name, **dict(wildcards.items()))


def memory(name):
    return lambda wildcards, attempt: needs(name, wildcards).memory_mb * attempt


def minutes(name):
    return lambda wildcards, attempt: needs(name, wildcards).minutes * attempt


def gpus(name):
    return lambda wildcards: needs(name, wildcards).gpus


@functools.cache
def parts_of(source, shard):
    """How many jobs paint a shard, beside its own; 1: its own does."""
    return parts_of_shard(config, LAYOUT, source, shard)


def decoders(wildcards):
    """Threads that decode and preprocess ahead of a GPU; a core that computes the tokens itself needs no other."""
    return 8 if gpus("extract_tokens")(wildcards) else 1


def costly(path):
    """Write-protect what cost GPU hours, where the config says so."""
    return protected(str(path)) if config["protect"] else str(path)


if workflow.is_main_process:
    wake_once(JobScheduler)
    refuse_missing_paths()


# inputs
# Where a file comes from the same job as one that is listed already, or stands behind it, it is not listed again: some
# ten thousand inputs more would cost every dry run and every cluster job many seconds.
@functools.cache
def positives():
    return [str(LAYOUT.positives(shard)) for shard in SHARDS]


def roster():
    """The rows of the data set and their splits, where anything is made from them."""
    made = nearid.config.needs_identities(config)
    return [str(LAYOUT.identities), str(LAYOUT.splits)] if made else []


def dropped_records():
    return [str(LAYOUT.dropped)] if roster() else []


def painted_parts(wildcards):
    """Marks of the parts that a shard is painted in."""
    source, shard = wildcards.source, wildcards.shard
    parts = parts_of(source, shard)
    numbers = range(1, parts + 1) if parts > 1 else ()
    return [str(LAYOUT.painted(source, shard, part, parts)) for part in numbers]


def joined_parts(wildcards, input):
    """No trigger, since it comes from the input: how a shard is painted changes nothing in it."""
    return ["--join", str(len(input.parts))] if input.parts else []


def distractors(sources):
    return [
        str(LAYOUT.distractors(source, shard)) for source in sources for shard in SHARDS
    ]


@functools.cache
def shards_of_tokens(backbone, collection):
    return [
        str(LAYOUT.tokens(backbone, collection, shard))
        for shard in token_shards(config, backbone, collection)
    ]


def tokens(backbone, collections):
    return [
        path
        for collection in collections
        for path in shards_of_tokens(backbone, collection)
    ]


def images(collection, shards=SHARDS):
    """Shards of a source, behind which the positives stand, or of the positives."""
    where = (
        LAYOUT.positives
        if collection == "positives"
        else functools.partial(LAYOUT.distractors, collection)
    )
    return [str(where(shard)) for shard in shards]


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


def own_files(step):
    """Lists of the user's own files that the step's settings name."""
    return lambda wildcards: [
        file_list(path)
        for path in own_paths(step, settings_of(step, **dict(wildcards.items())))
    ]


def collection_files(wildcards):
    """The images of a collection of tokens; their masks are the positives'."""
    if wildcards.collection.startswith("mtg_"):
        return [str(LAYOUT.mtg(wildcards.collection.removeprefix("mtg_")))]
    shards = settings_of("extract_tokens", **dict(wildcards.items()))["shards"]
    return images(wildcards.collection, shards)


def training_files(wildcards):
    """Tokens, or images, of all that an ablation draws from."""
    mix = mix_of(config, wildcards.ablation)
    nearid_rows = (
        ["positives", *mix["sources"]]
        if mix["sources"] and mix["nearid_repeats"]
        else []
    )
    collections = [*nearid_rows, *(["mtg_train"] if mix["mtg_repeats"] else [])]
    training = training_of(config, wildcards.ablation)
    backbone = training["backbone"]
    # The oracle's severity comes from the part-edit set's masks.
    edits = [str(LAYOUT.mtg("train"))] if mix["mtg_repeats"] else []
    feed = (
        tokens(backbone, collections)
        if training["tokens"] == "cached"
        else [path for collection in nearid_rows for path in images(collection)]
    )
    return [*feed, *edits]


@functools.cache
def companions_of(ablation):
    return nearid.config.companions_of(config, ablation)


def companions(wildcards, threads):
    """The heads that train with an ablation's, as one JSON argument."""
    return json.dumps(companions_of(wildcards.ablation), sort_keys=True)


def scored_along(benchmark):
    """The scorers that are scored with one, as one JSON argument; like `companions` no trigger."""
    return lambda wildcards, threads: json.dumps(
        nearid.config.scored_along(config, wildcards.scorer, benchmark), sort_keys=True
    )


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


def packed_heads(wildcards):
    return int(bool(companions_of(wildcards.ablation)))


def with_timelapse(kept):
    """Which ablations keep their states for the time lapse (or do not), as a wildcard's pattern."""
    names = [
        name
        for name in config["ablations"]
        if bool(training_of(config, name)["keep_every_steps"]) == kept
    ]
    return pattern(names)


def animated(moves):
    """Which figures move (or do not), as a wildcard's pattern."""
    return pattern(
        [
            name
            for name, figure in config["paper"]["figures"].items()
            if figure["animate"] == moves
        ]
    )


def pattern(names):
    return "|".join(names) or "(?!)"


def head_files(ablation):
    return [
        str(LAYOUT.head_file(ablation, name))
        for name in ("head.safetensors", "config.json")
    ]


def scored_head_files(scorer):
    """Of the head that a scorer reads, with the kept ones where it names a step."""
    entry = config["scorers"][scorer]
    if "ablation" not in entry:
        return []
    kept = timelapse_files(entry["ablation"]) if "step" in entry else []
    return [*head_files(entry["ablation"]), *kept]


def exported_models(wildcards):
    """Every trained head in both layouts."""
    return [
        str(LAYOUT.exported(form, ablation))
        for form in ("siglip", "release")
        for ablation in SELECT["ablations"]
    ]


def exported_head(wildcards):
    """A head, and the metrics that its card shows."""
    scorers = [
        name
        for name in SELECT["scorers"]
        if config["scorers"][name].get("ablation") == wildcards.ablation
    ]
    return [*head_files(wildcards.ablation), *metrics(scorers)]


def timelapse_files(ablation):
    kept = training_of(config, ablation)["keep_every_steps"]
    return [str(LAYOUT.head_file(ablation, "timelapse.safetensors"))] if kept else []


def scorer_files(wildcards, collections, images):
    """What a scorer looks at: tokens where it reads some, else images; its head where it has one."""
    backbone = backbone_of(config, wildcards.scorer)
    looked_at = tokens(backbone, collections) if backbone else images()
    return [*looked_at, *scored_head_files(wildcards.scorer)]


def nearid_bench_files(wildcards):
    sources = SELECT["sources"]
    return scorer_files(
        wildcards,
        ["positives", *sources],
        lambda: [*positives(), *distractors(sources)],
    )


def mtg_files(wildcards):
    return scorer_files(wildcards, ["mtg_test"], list)


def dreambench_files(wildcards):
    return scored_head_files(wildcards.scorer)


def score_files(scorer):
    return [
        str(LAYOUT.scores(scorer, benchmark))
        for benchmark in benchmarks_of(config, scorer)
    ]


def nearid_bench_scores():
    """Similarities of all who take part in NearID-bench."""
    return [
        str(LAYOUT.scores(scorer, "nearid_bench"))
        for scorer in SELECT["scorers"]
        if "nearid_bench" in benchmarks_of(config, scorer)
    ]


def browser():
    """The page's browser of identities, where there is something to browse."""
    return [str(LAYOUT.paper("identities"))] if nearid_bench_scores() else []


def metrics(scorers):
    return [str(LAYOUT.metrics(scorer)) for scorer in scorers]


def data_files():
    """What the table of the data set counts."""
    reports = [
        str(LAYOUT.distractor_report(source, shard))
        for source in SELECT["sources"]
        for shard in SHARDS
    ]
    edits = ("train", "test") if "mtg" in SELECT["benchmarks"] else ()
    return [
        *roster(),
        str(LAYOUT.dropped),
        *reports,
        *(str(LAYOUT.mtg(split)) for split in edits),
    ]


def compared_files():
    """What the comparison with the paper reads."""
    own = data_files() if "data" in SELECT["tables"] else []
    return [*metrics(SELECT["scorers"]), *own]


def table_files(wildcards):
    """Metrics of a table's scorers, and of those whose M-H it borrows; the data set's own table reads data."""
    if wildcards.table == "data":
        return data_files()
    run = step_settings("make_table", config, table=wildcards.table)["run"]
    ids = [
        scorer[key]
        for key in ("id", "m_h_from")
        for scorer in run["scorers"]
        if key in scorer
    ]
    return metrics(sorted(set(ids)))


def figure_files(wildcards):
    """What a figure is computed from: its entry's `needs`."""
    figure = config["paper"]["figures"][wildcards.figure]
    sources = figure["sources"] or SELECT["sources"]
    files = []
    if "images" in figure["needs"]:
        files += [*positives(), *roster(), *distractors(sources)]
        files += [str(LAYOUT.mtg("test"))] if "mtg" in SELECT["benchmarks"] else []
    if "tokens" in figure["needs"]:
        backbone = training_of(config, figure["ablation"])["backbone"]
        files += [
            *roster(),
            *tokens(backbone, ["positives", sources[0]]),
        ]
        files += [
            *head_files(figure["ablation"]),
            *(timelapse_files(figure["ablation"]) if figure["animate"] else []),
        ]
    if "scores" in figure["needs"]:
        files += [
            path
            for scorer in figure["scorers"] or SELECT["scorers"]
            for path in score_files(scorer)
        ]
    if "metrics" in figure["needs"]:
        files += metrics(figure["scorers"] or SELECT["scorers"])
    if "training_log" in figure["needs"]:
        names = figure["ablations"] or SELECT["ablations"]
        files += [str(LAYOUT.head_file(name, "log.jsonl")) for name in names]
    return sorted(set(files))


def tables():
    return [
        str(LAYOUT.table(table, suffix))
        for table in SELECT["tables"]
        for suffix in ("csv", "tex", "md")
    ]


def figures():
    moving = [
        figure
        for figure in SELECT["figures"]
        if config["paper"]["figures"][figure]["animate"]
    ]
    files = [
        str(LAYOUT.figure(figure, suffix))
        for figure in SELECT["figures"]
        for suffix in ("pdf", "png")
    ]
    return [*files, *(str(LAYOUT.figure(figure, "gif")) for figure in moving)]


def everything(wildcards):
    """What the selected config makes."""
    closing = ("index.html", "manifest.json", "summary.txt")
    return [
        *tables(),
        *figures(),
        *metrics(SELECT["scorers"]),
        *(str(LAYOUT.paper(name)) for name in closing),
        str(LAYOUT.crate),
    ]
