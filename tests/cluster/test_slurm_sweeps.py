"""Sweeps through submitit on a real SLURM: limits, preemption, cancelling and resuming (make test-slurm)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from end_to_end import CONFIG, copy_project, end, start
from slurm_accounting import LIMITED_QOS, OTHER_ACCOUNT
from slurm_cluster import CPU_NODES

pytestmark = [pytest.mark.slurm, pytest.mark.waits, pytest.mark.timeout(2400)]

OVERLAYS = [part for path in CONFIG[1:] for part in ("--config", path)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A project with its tokens and the heads of its config."""
    project = copy_project(tmp_path_factory.mktemp("trained") / "project")
    end(start(project, "--until", "train_head", "train_head_with_timelapse"), project)
    return project


@pytest.fixture
def project(trained, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "project"))


def test_a_sweep_that_is_preempted_cancelled_and_resumed(cluster, project):
    environment = {**os.environ, **cluster.variables, "PYTHONPATH": "src"}

    def call(*arguments) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *map(str, arguments)], cwd=project, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    grid = ("--ablation", "nearid", "--ablation", "infonce", *(part for seed in "123" for part in ("--seed", seed)))
    grid += ("--set", "training.learning_rate=1e-3,3e-3", "--set", "training.epochs=60")
    needs = ("--partition", "scavenge", "--threads", 1, "--memory-gb", 2, "--parallel", 3, "--minutes", 30)
    sweep, folder = ("nearid", "sweep"), "results/test/sweeps/grid"
    assert "12 of 12 runs submitted" in call(*sweep, "run", "grid", *OVERLAYS, *grid, *needs)
    finished = project / "results/test/heads"
    cluster.wait("a first head", lambda: len(list(finished.glob("*seed*/head.safetensors"))) > 0, 180)
    low = ("--partition=scavenge",)

    def preempted() -> bool:
        if any(int(cluster.show(job)["Restarts"]) for job in _jobs(cluster, *low)):
            return True
        # Repeated until one of them preempts a run.
        if not _jobs(cluster, "--partition=cpu"):
            for node in CPU_NODES:
                options = (f"--nodelist={node}", "--cpus-per-task=32", "--mem=100", "--wrap=sleep 1")
                cluster.submit("--partition=cpu", *options)
        return False

    cluster.wait("a preemption", preempted, 180)
    call(*sweep, "cancel", folder)
    assert not _jobs(cluster, *low)
    table = call(*sweep, "status", folder)
    assert 1 <= table.count(" done ") < 12 and " not running " in table.replace("cancelled", "not running")
    assert "12 of 12" not in call(*sweep, "run", "grid", *OVERLAYS, *grid, *needs)
    cluster.wait_for_jobs()
    table = call(*sweep, "status", folder)
    assert table.count(" done ") == 12 and "360/360" in table, table
    assert "12 of 12 heads recorded" in call(*sweep, "collect", folder)
    plan = ("snakemake", "-n", "--quiet", "rules", "--cores", "1", *CONFIG, f"{folder}/overlay.yaml")
    assert "train_head" not in (planned := call(*plan)) and "score_nearid_bench" in planned
    assert "1 of 1 runs submitted" in call(
        *sweep, "run", "here", *OVERLAYS, "--ablation", "infonce", "--seed", 7, "--executor", "local"
    )
    assert call(*sweep, "status", "results/test/sweeps/here").count(" done ") == 1
    # The settings of their training are recorded: with other settings they are trained again.
    (project / "other.yaml").write_text("training: {weight_decay: 0.5}\n")
    assert re.search(r"train_head +7\b", call(*plan, "other.yaml"))


def test_a_sweep_has_its_account_qos_and_gpus(accounting, project):
    """With a QOS that runs two jobs of a user at a time and accepts four; one run is requeued as if preempted."""
    accounting.account(
        "modify", "user", "root", "where", f"account={OTHER_ACCOUNT}", "set", f"qos=normal,{LIMITED_QOS}"
    )
    environment = {**os.environ, **accounting.variables, "PYTHONPATH": "src"}

    def sweep(*arguments):
        program = [sys.executable, "-m", "nearid", "sweep", *map(str, arguments)]
        return subprocess.run(program, cwd=project, env=environment, capture_output=True, text=True)

    heads = ("--ablation", "infonce", "--set", "training.epochs=60", "--set", "training.checkpoint_every_steps=4")
    needs = ("--partition", "gpu", "--account", OTHER_ACCOUNT, "--sbatch", f"qos={LIMITED_QOS}", "--gpus", 1)
    needs += ("--threads", 1, "--memory-gb", 2, "--minutes", 30)
    seeds = [part for seed in range(1, 6) for part in ("--seed", seed)]
    refused = sweep("run", "many", *OVERLAYS, *heads, *seeds, *needs)
    assert refused.returncode != 0 and "QOSMaxSubmitJobPerUserLimit" in refused.stderr and "next:" in refused.stderr
    submitted = sweep("run", "few", *OVERLAYS, *heads, *seeds[:6], *needs)
    assert "3 of 3 runs submitted" in submitted.stdout + submitted.stderr, submitted.stderr
    progress = project / "results/test/heads"
    accounting.wait("a saved state", lambda: any(progress.glob("*seed*/.progress/*/*.pt")), 300)
    table = sweep("status", "results/test/sweeps/few").stdout
    assert table.count(" running ") <= 2 and " pending " in table, table
    (first, *_) = _jobs(accounting, "--states=RUNNING", f"--account={OTHER_ACCOUNT}")
    shown = accounting.show(first)
    assert shown["QOS"] == LIMITED_QOS and "gres/gpu=1" in shown["TRES"], shown
    accounting.run("scontrol", "requeue", first)
    accounting.wait("another start", lambda: int(accounting.show(first)["Restarts"]) == 1, 120)
    accounting.wait_for_jobs()
    table = sweep("status", "results/test/sweeps/few").stdout
    assert table.count(" done ") == 3, table
    assert "3 of 3 heads recorded" in sweep("collect", "results/test/sweeps/few").stdout


def _jobs(cluster, *which) -> list[str]:
    return cluster.run("squeue", "--noheader", "--array", "--format=%i", *which, check=False).stdout.split()
