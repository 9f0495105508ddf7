"""`snakemake --profile slurm` on a real SLURM, undisturbed and with what may happen on clusters (make test-slurm)."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from end_to_end import CONFIG, ROOT, await_file, copy_project, differences, end, kill, read_results, start
from safetensors.numpy import load_file
from slurm_cluster import CPU_NODES, full_log, submissions

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]

HEAD = "results/test/heads/{}/head.safetensors"
# Two tables that need only one head.
TWO_TABLES = ("--", "results/test/paper/tables/table2.csv", "results/test/paper/tables/table8.csv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A project after a run without a cluster."""
    project = copy_project(tmp_path_factory.mktemp("local") / "project")
    end(start(project), project)
    return project


@pytest.fixture(scope="module")
def local(finished) -> dict[str, bytes]:
    """The results of that run."""
    return read_results(finished)


@pytest.fixture
def again(finished, tmp_path) -> Path:
    """A copy of that project."""
    shutil.copytree(finished, tmp_path / "project")
    (tmp_path / "project/said.txt").unlink()
    return tmp_path / "project"


def steps_of(job) -> list[int]:
    """Ids of the processes of our own commands in a job."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            inside = f"SLURM_JOB_ID={job}".encode() in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if inside and b"nearid" in words:
            found.append(int(folder.name))
    return found


# Scores without a head.
SCORES = [f"results/test/scores/{scorer}/metrics.json" for scorer in ("colour_histogram", "siglip2_mean", "siglip2")]


@pytest.mark.waits
def test_short_jobs_share_jobs_of_the_cluster(accounting, on_slurm, tmp_path):
    """They run one after the other within the group's request, and give the same results, also after a kill."""
    here, there = copy_project(tmp_path / "here"), copy_project(tmp_path / "there")
    expected = end(start(here, "--", *SCORES), here)
    process = on_slurm(there, "--", *SCORES)
    await_file(process, there, "tokens/**/*.h5")
    tokens = [
        job for job, what in accounting.running().items() if what.startswith("rule_extract_tokens_extract_tokens")
    ]
    accounting.run("scancel", *tokens)
    assert differences(end(process, there), expected) == []
    log = full_log(there)
    assert log.count("Trying to restart") == 1
    grouped = Counter(rule for rule in re.findall(r"Group job (\w+) ", log))
    assert grouped["summarise_scores"] == grouped["score_mtg"] == 1 and grouped["extract_tokens"] == 2
    jobs = len(re.findall(r"^Finished jobid: ", log, re.MULTILINE)) - 1  # without the rule `all`
    assert submissions(there) < 0.6 * jobs
    name = re.search(r"SLURM run ID: (\S+)", log)[1]
    ask = ("sacct", "--allocations", "--noheader", "--parsable2", f"--name={name}")
    rows = [
        row.split("|")
        for row in accounting.run(*ask, "--format=comment%60,timelimitraw,reqmem,alloccpus,state").stdout.splitlines()
    ]
    (summaries,) = [row for row in rows if row[0].startswith("rule_summarise_scores_summarise_scores_")]
    assert summaries[1:] == [str(3 * 15), "2000M", "1", "COMPLETED"]


@pytest.mark.waits
def test_one_table_one_source_or_one_scorer_runs_again_alone(again, on_slurm, local):
    planned = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--cores", "1", *CONFIG, "-R", "make_table"],
        cwd=again,
        capture_output=True,
        text=True,
    )
    rules = set(re.findall(r"^(\w+) +\d+$", planned.stdout + planned.stderr, re.MULTILINE)) - {"default", "total"}
    closing = {"compare_with_paper", "make_page", "write_manifest", "write_crate"}
    assert "make_table" in rules and rules <= {"make_table", *closing}
    for target in ("distractors/sibling/000.parquet", "scores/colour_histogram/nearid_bench.parquet"):
        (again / "said.txt").unlink(missing_ok=True)
        file = f"results/test/{target}"
        before = (again / file).stat().st_mtime_ns
        end(on_slurm(again, "--forcerun", file, "--", file), again)
        assert submissions(again) == 1
        assert (again / file).stat().st_mtime_ns > before
    assert differences(read_results(again), local) == []


def test_ranks_of_a_step_are_one_training(cluster, tmp_path):
    """Two nodes with one rank each, or one with two, give what a single process gives (docs/performance.md 5)."""
    program = (
        "import json, sys, token_world as world\n"
        "from nearid.io.progress import log_to_stderr\nlog_to_stderr()\n"
        "layout = world.write_world(sys.argv[1]) if sys.argv[2] == 'write' else None\n"
        "if not layout: world.train(sys.argv[1], world.settings(checkpoint_every_steps=1000))\n"
    )
    environment = {**os.environ, **cluster.variables, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = f"{ROOT / 'src'}:{ROOT / 'tests/heads'}"
    weights = {}
    for name, geometry in {"alone": ("-N1", "-n1"), "two nodes": ("-N2", "-n2"), "one node": ("-N1", "-n2")}.items():
        folder = str(tmp_path / name)
        subprocess.run([sys.executable, "-c", program, folder, "write"], env=environment, check=True)
        call = ["srun", *geometry, "--mem=2000", "--time=5", sys.executable, "-c", program, folder, "train"]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        ranks = sorted(re.findall(r"rank (\d) of (\d) ", done.stderr))
        assert ranks == ([("0", "1")] if name == "alone" else [("0", "2"), ("1", "2")])
        weights[name] = load_file(Path(folder) / "heads/tiny/head.safetensors")
    for name in ("two nodes", "one node"):
        for key, values in weights["alone"].items():
            assert abs(weights[name][key] - values).max() < 1e-3, (name, key)


@pytest.mark.waits
def test_the_profile_gives_training_several_ranks(cluster, again, on_slurm):
    before = load_file(again / HEAD.format("infonce"))
    ranks = ("train_head:mpi=srun", "train_head:tasks=2", "train_head:nodes=2")
    target = HEAD.format("infonce")
    end(on_slurm(again, "--set-resources", *ranks, "--forcerun", target, "--", target), again)
    log = (again / "results/test/logs/heads/train_head/infonce.log").read_text()
    assert re.match(r"rank [01] of 2 ", log)
    config = json.loads((again / "results/test/heads/infonce/config.json").read_text())
    assert config["deepspeed"]["train_micro_batch_size_per_gpu"] == 4
    for key, values in load_file(again / target).items():
        assert abs(before[key] - values).max() < 1e-2, key


@pytest.mark.waits
def test_twenty_jobs_killed_at_random(cluster, local, on_slurm, tmp_path):
    project, chance, killed = copy_project(tmp_path / "project"), random.Random(0), Counter()
    # Without groups, so that there are enough jobs to kill.
    process = on_slurm(project, "--group-components", "make_mtg=1")
    while killed.total() < 20 and process.poll() is None:
        time.sleep(chance.uniform(4, 12))
        # With the profile's retries, a third kill would end a job for good.
        # (The wrapper of sbatch appends a hash to comments without wildcards.)
        comments = {job: re.sub("_[0-9a-f]{12}$", "", what) for job, what in cluster.running().items()}
        running = [(job, what) for job, what in comments.items() if killed[what] < 2]
        if running:
            job, what = chance.choice(running)
            steps = steps_of(job)
            if steps and chance.random() < 0.5:
                os.kill(chance.choice(steps), signal.SIGKILL)
            else:
                cluster.run("scancel", job, check=False)
            killed[what] += 1
    found = end(process, project)
    assert killed.total() == 20
    assert differences(found, local) == []


@pytest.mark.waits
def test_a_cluster_with_troubles_loses_nothing(cluster, local, on_slurm, tmp_path):
    """No controller, no status, a killed node, a drained node, and a kill of Snakemake."""
    project = copy_project(tmp_path / "project")
    sbatch = shutil.which("sbatch")
    away, silent = tmp_path / "away", tmp_path / "silent"
    words = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    cluster.plant("sbatch", f'#!/bin/sh\n[ -e {away} ] && echo "{words}" >&2 && exit 1\nexec {sbatch} "$@"\n')
    status = "sacct" if cluster.accounting else "squeue"
    cluster.plant(status, f'#!/bin/sh\n[ -e {silent} ] && exit 1\nexec {shutil.which(status)} "$@"\n')
    try:
        away.touch()
        process = on_slurm(project, *TWO_TABLES)
        time.sleep(30)  # without the wrapper's retries, all attempts of a job would have failed by now
        away.unlink()
        await_file(process, project, "data/identities.parquet")
        silent.touch()
        time.sleep(40)  # more than ten status calls
        silent.unlink()
        await_file(process, project, "distractors/*/*.parquet")
        cluster.kill("controller")
        time.sleep(5)
        cluster.start_controller()
        cluster.run("scontrol", "update", f"nodename={CPU_NODES[0]}", "state=drain", "reason=test")
        await_file(process, project, "tokens/**/*.h5")
        kill(process)
        # Its jobs go on; they are waited for before the next start (slurm/README.md).
        cluster.run("scontrol", "update", f"nodename={CPU_NODES[0]}", "state=resume")
        cluster.wait_for_jobs()
        process = on_slurm(project, *TWO_TABLES)
        cluster.wait("a job on the first node", lambda: "cpu1" in _nodes_of_jobs(cluster), 300)
        cluster.kill(CPU_NODES[0])
        cluster.wait("the node's loss", lambda: cluster.node_states()[CPU_NODES[0]].startswith("down"), 120)
        cluster.start_node(CPU_NODES[0])
        found = end(process, project)
    finally:
        for name in ("sbatch", status):
            (cluster.programs / name).unlink()
        cluster.run("scontrol", "update", f"nodename={CPU_NODES[0]}", "state=resume", check=False)
    assert {"paper/tables/table2.csv", "paper/tables/table8.csv"} <= found.keys()
    # A head that was trained along, in the pack, waits for its own job to write it.
    found = {path: content for path, content in found.items() if not path.startswith("heads/infonce/.")}
    assert differences(found, {path: local.get(path, b"") for path in found}) == []


def _nodes_of_jobs(cluster) -> str:
    return cluster.run("squeue", "--noheader", "--states=RUNNING", "--format=%N", check=False).stdout


# About two thousand steps, with a saved state every twenty: any disturbance comes in the middle.
LONG = "training: {epochs: 400, checkpoint_every_steps: 20, pack: none}\n"
NEARID, INFONCE = "rule_train_head_with_timelapse_wildcards_nearid", "rule_train_head_wildcards_infonce"


@pytest.mark.waits
def test_training_survives_limits_preemption_and_warnings(cluster, again, on_slurm, tmp_path):
    (again / "long.yaml").write_text(LONG)
    shutil.rmtree(again / "results/test/heads")
    here = tmp_path / "here"
    shutil.copytree(again, here)
    end(start(here, "long.yaml", "--", HEAD.format("nearid"), HEAD.format("infonce")), here)
    expected = _heads(read_results(here))

    def train(name, *resources):
        (again / "said.txt").unlink(missing_ok=True)
        return on_slurm(again, "long.yaml", "--set-resources", *resources, "--", HEAD.format(name))

    def await_progress(process, name, comment):
        cluster.wait("the head's job", lambda: comment in cluster.running().values(), 180)
        await_file(process, again, f"heads/{name}/.progress/*/*.pt")
        return next(job for job, what in cluster.running().items() if what == comment)

    # A memory limit that is too low, then such a time limit, then enough of both.
    memory, minutes = "train_head:mem_mb=3000 if attempt > 1 else 200", "train_head:runtime=30 if attempt > 2 else 1"
    process = train("infonce", memory, minutes, "train_head:slurm_extra='--open-mode=append'")
    cluster.wait("a second attempt", lambda: full_log(again).count("Trying to restart") == 1, 300)
    cluster.wait("its job", lambda: INFONCE in cluster.running().values(), 180)
    job = next(job for job, what in cluster.running().items() if what == INFONCE)
    # A fast job is stopped before it is done; on a loaded machine its minute may end before its first saved state.
    cluster.wait("a state or the limit", lambda: _states(again, "infonce") or job not in cluster.running(), 300)
    for step in steps_of(job):
        os.kill(step, signal.SIGSTOP)
    found = end(process, again)
    assert full_log(again).count("Trying to restart") == 2
    logs = (again / ".snakemake/slurm_logs/rule_train_head").rglob("*.log")
    assert any("exceeded memory limit" in log.read_text() for log in logs)
    assert cluster.show(job)["JobState"] == "TIMEOUT"
    assert differences(_heads(found), {path: content for path, content in expected.items() if "infonce" in path}) == []

    # Preempted five times.
    process = train("nearid", "train_head_with_timelapse:slurm_partition=scavenge")
    for count in range(5):
        job = await_progress(process, "nearid", NEARID)
        # SLURM takes a while and resumes what it preempts; the head must not be finished by then.
        for step in steps_of(job):
            os.kill(step, signal.SIGSTOP)
        node = cluster.show(job)["NodeList"]
        cluster.submit("--partition=cpu", f"--nodelist={node}", "--cpus-per-task=32", "--mem=100", "--wrap=sleep 1")
        cluster.wait(f"preemption {count}", lambda: int(cluster.show(job)["Restarts"]) > count, 120)  # noqa: B023
    found = end(process, again)
    assert differences(_heads(found), expected) == []
    provenance = json.loads((again / "results/test/heads/nearid/provenance.json").read_text())
    assert provenance["resumed_after_step"] > 0

    # Warned of the time limit, it saves its state and is requeued under its id, without using up an attempt.
    shutil.rmtree(again / "results/test/heads/infonce")
    process = train("infonce", "train_head:runtime=30")
    job = await_progress(process, "infonce", INFONCE)
    cluster.run("scancel", "--signal=URG", job)  # as `--signal=URG@120` of the profile does before the limit
    cluster.wait("a further round", lambda: int(cluster.show(job)["Restarts"]) == 1, 120)
    found = end(process, again)
    assert submissions(again) == 1
    assert differences(_heads(found), expected) == []


def _states(project, head) -> list[Path]:
    """Saved states of a head's training."""
    return list((project / f"results/test/heads/{head}/.progress").glob("*/*.pt"))


def _heads(found: dict[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in found.items() if path.startswith("heads/")}
