"""Mistakes in profile, account and environment are told by a run on a real SLURM (make test-slurm)."""

import os
import subprocess
import sys

import pytest
from end_to_end import ROOT, copy_project, end
from slurm_cluster import submissions

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

MISTAKES = {
    "partition": ({"partition": "nowhere"}, (), "partition nowhere is not on this cluster"),
    "time": ({"partition": "short"}, (), "short allows 10"),
    "gpu": ({}, ("--set-resources", "train_head:gpu=1"), "train_head asks for a GPU"),
    "arrays": ({}, ("--slurm-array-jobs", "extract_tokens"), "6 jobs at a time"),
    "account": ({"account": "theirs"}, (), "account theirs is not yours"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_before_the_first_job(cluster, tmp_path, on_slurm, mistake):
    settings, arguments, says = MISTAKES[mistake]
    project = copy_project(tmp_path / "project")
    profile = project / "slurm/config.yaml"
    for key, value in settings.items():
        profile.write_text(profile.read_text().replace(f'# slurm_{key}: ""', f"slurm_{key}: {value}"))
    cluster.plant("sacctmgr", "#!/bin/sh\necho ours\n")
    try:
        process = on_slurm(project, *arguments)
        process.wait(60)
    finally:
        (cluster.programs / "sacctmgr").unlink()
    said = (project / "said.txt").read_text()
    assert process.returncode != 0
    assert says in said and "next:" in said and "Traceback" not in said
    assert submissions(project) == 0


def test_an_account_that_is_missing_is_told_by_the_first_job(cluster, tmp_path, on_slurm):
    project = copy_project(tmp_path / "project")
    # The tests' user has a default account; this is sbatch's message to users without one.
    words = "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified"
    cluster.plant("sbatch", f'#!/bin/sh\necho "{words}" >&2\nexit 1\n')
    try:
        process = on_slurm(project)
        process.wait(120)
    finally:
        (cluster.programs / "sbatch").unlink()
    said = (project / "said.txt").read_text()
    assert process.returncode != 0
    assert "Invalid account" in said and "next: name yours as slurm_account" in said
    assert submissions(project) == 0


def test_a_half_installed_environment_is_told_by_the_job(cluster, tmp_path, on_slurm):
    project = copy_project(tmp_path / "project")
    # Found before the real module, as if that were not installed.
    (project / "src/vtkmodules.py").write_text("raise ModuleNotFoundError('No module named vtk', name='vtkmodules')\n")
    target = "results/test/data/identities.parquet"
    process = on_slurm(project, "--retries", "0", "--", target)
    process.wait(120)
    assert process.returncode != 0
    log = (project / "results/test/logs/data/curate_positives/all.log").read_text()
    assert "no module vtkmodules" in log and "make setup" in log and "Traceback" not in log


def test_a_node_with_another_python_runs_the_right_one(cluster, tmp_path, on_slurm):
    project, theirs = copy_project(tmp_path / "project"), tmp_path / "theirs"
    theirs.mkdir()
    for name in ("python", "python3", "python3.11", "nearid", "snakemake"):
        (theirs / name).write_text(f"#!/bin/sh\necho the node's own {name} >&2\nexit 1\n")
        (theirs / name).chmod(0o755)
    # What a site's modules may do to a job before it begins.
    cluster.plant("task_prolog", f'#!/bin/sh\necho "export PATH={theirs}:$PATH"\n')
    try:
        found = end(on_slurm(project, "--", "results/test/data/identities.parquet"), project)
    finally:
        cluster.plant("task_prolog", "#!/bin/sh\n")
    assert "data/identities.parquet" in found and submissions(project) == 1
    job = next((project / ".snakemake/slurm_logs").rglob("*.log")).read_text()
    assert "the node's own" not in job


def test_from_another_folder_it_says_where_to_run(cluster, tmp_path):
    environment = {**os.environ, **cluster.variables}
    program = [sys.executable, "-m", "snakemake", "-n"]
    for arguments in (
        ("--profile", "slurm"),
        ("--profile", ROOT / "slurm", "--snakefile", ROOT / "Snakefile"),
    ):
        done = subprocess.run(
            [*program, *map(str, arguments)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        said = done.stdout + done.stderr
        assert done.returncode != 0
        assert "Traceback" not in said and ("slurm" in said or "config.yaml" in said), said
