"""`snakemake --profile slurm` on a real SLURM, undisturbed and with what happens on clusters (make test-slurm)."""

import os
import random
import time
from collections.abc import Iterator

import pytest
from slurm_cluster import CPU_NODES, Cluster, missing_programs
from whole_way import await_file, copy_project, differences, end, kill, start

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]

# The profile as it is, and what a cluster without accounting, whose disk is this machine's, says besides.
HOW = (
    *("--profile", "slurm", "--slurm-status-command", "squeue", "--slurm-no-account"),
    *("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"),
    *("--max-status-checks-per-second", "1", "--max-jobs-per-timespan", "600/1m", "--jobs", "4"),
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("node daemons start jobs as other users: needs root")
    if missing_programs():
        pytest.skip(f"not installed: {', '.join(missing_programs())} (apt install slurmctld slurmd slurm-client munge)")
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> dict[str, bytes]:
    """What a run without a cluster gives."""
    project = copy_project(tmp_path_factory.mktemp("local") / "project")
    return end(start(project), project)


def test_a_run_on_the_cluster_equals_a_local_one(cluster, local, tmp_path):
    project = copy_project(tmp_path / "project")
    found = end(start(project, how=HOW, variables=cluster.variables), project)
    assert differences(found, local) == []
    said = (project / "said.txt").read_text()
    for rule in ("curate_positives", "inpaint_shard", "extract_tokens", "train_head", "score_nearid_bench"):
        assert list((project / ".snakemake/slurm_logs").glob(f"rule_{rule}/**/*.log")), (
            f"{rule} did not go through sbatch"
        )
    assert "Traceback" not in said


def test_faults_lose_nothing(cluster, local, tmp_path):
    project = copy_project(tmp_path / "project")
    chance = random.Random(0)

    def cancel_one(process) -> None:
        limit = time.monotonic() + 300
        while not (running := cluster.running()):
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.5)
        cluster.run("scancel", chance.choice(running), check=False)

    def go_on():
        return start(project, how=HOW, variables=cluster.variables)

    process = go_on()
    cancel_one(process)
    await_file(process, project, "distractors/**/*.parquet")
    cancel_one(process)
    # Snakemake is killed; its jobs go on, and are waited for before the next start (slurm/README.md).
    kill(process)
    cluster.wait_for_jobs()
    process = go_on()
    await_file(process, project, "tokens/**/*.h5")
    cluster.kill("controller")
    cluster.start_controller()
    await_file(process, project, "tokens/**/*.h5")
    cluster.kill(CPU_NODES[0])
    time.sleep(15)  # longer than SlurmdTimeout: the node is down, its jobs failed
    cluster.start_node(CPU_NODES[0])
    await_file(process, project, "heads/**/log.jsonl")
    cancel_one(process)
    assert differences(end(process, project), local) == []
