"""`slurm/bin/sbatch` calls the cluster's own sbatch, however PATH spells its own folder, and never itself."""

import ast
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

WRAPPER = Path(__file__).resolve().parents[2] / "slurm/bin/sbatch"


def submit(*folders: object, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    environment = {**os.environ, **variables, "PATH": path}
    program = [str(WRAPPER), "--parsable", "a b"]
    return subprocess.run(program, env=environment, input="", capture_output=True, text=True, timeout=60)


def plant(folder: Path, script: str) -> Path:
    folder.mkdir()
    (folder / "sbatch").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "sbatch").chmod(0o755)
    return folder


@pytest.fixture
def cluster(tmp_path):
    """A folder with an sbatch that prints its arguments."""
    return plant(tmp_path / "cluster", 'printf "%s|" "$@"')


@pytest.mark.parametrize("spelling", ["{}", "{}/", "{}/.", "{}/../bin", "LINK"])
def test_its_own_folder_is_passed_over_in_any_spelling(cluster, tmp_path, spelling):
    link = tmp_path / "link"
    link.symlink_to(WRAPPER.parent)
    own = str(link) if spelling == "LINK" else spelling.format(WRAPPER.parent)
    done = submit(own, cluster)
    assert (done.returncode, done.stdout) == (0, "--parsable|a b|"), done.stderr


def test_an_old_python_of_a_login_node_runs_it():
    text = WRAPPER.read_text()
    ast.parse(text, feature_version=(3, 6))
    assert not re.search(r"capture_output|text=|removeprefix|removesuffix", text), "younger than 3.6"


def test_two_checkouts_find_that_they_call_each_other(cluster, tmp_path):
    """The first calls the second, whose PATH has the first: it reports that instead of calling it for ever."""
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(WRAPPER, other / "sbatch")
    done = submit(WRAPPER.parent, other, cluster)
    assert done.returncode == 127
    assert "is called by itself" in done.stderr


def test_a_wrapper_by_another_name_is_found_out_too(tmp_path):
    around = plant(tmp_path / "around", f'"{WRAPPER}" "$@"; exit $?')
    done = submit(around)
    assert done.returncode == 127
    assert "is called by itself" in done.stderr


def test_a_job_that_inherits_the_mark_may_submit(cluster):
    done = submit(cluster, NEARID_SBATCH=f"{os.uname().nodename} 999999999")
    assert (done.returncode, done.stdout) == (0, "--parsable|a b|"), done.stderr


def test_each_group_of_jobs_has_a_comment_of_its_own():
    """With it, a job is found again that was accepted although sbatch timed out."""
    name = runpy.run_path(str(WRAPPER))["name_groups"]
    lines = [["--comment", "rule_score_mtg_score_mtg", f"--wrap=snakemake {heads}"] for heads in ("a b", "c d", "a b")]
    first, second, again = map(name, lines)
    assert first == again and first[1] != second[1] and first[1].startswith("rule_score_mtg_score_mtg_")
    alone = ["--comment", "rule_score_mtg_wildcards_nearid", "--wrap=snakemake"]
    assert name(alone) == alone and name(["--version"]) == ["--version"]


def test_none_of_a_named_gpu_is_not_asked_for(cluster):
    """So the plugin writes `gpu_model` for a job that takes no GPU."""
    environment = {**os.environ, "PATH": f"{WRAPPER.parent}{os.pathsep}{cluster}{os.pathsep}{os.environ['PATH']}"}
    for asked, passed in (("--gpus=a100:0", ""), ("--gpus=a100:10", "--gpus=a100:10|"), ("--gpus=2", "--gpus=2|")):
        done = subprocess.run(["sbatch", "-t", "5", asked], env=environment, input="", capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"-t|5|{passed}"), done.stderr


def test_by_another_name_it_is_sacctmgr(tmp_path):
    there = plant(tmp_path / "there", "exit 1")
    (there / "sbatch").rename(there / "sacctmgr")
    (there / "sacctmgr").write_text('#!/bin/sh\necho "$@"\n')
    environment = {**os.environ, "PATH": f"{WRAPPER.parent}{os.pathsep}{there}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sacctmgr", "list", "user"], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "list user\n"), done.stderr


def test_as_sacct_it_reports_cancelled_jobs_as_the_plugin_knows_them(tmp_path):
    there = plant(tmp_path / "there", "exit 1")
    (there / "sbatch").rename(there / "sacct")
    (there / "sacct").write_text('#!/bin/sh\necho "7|CANCELLED by 1000"; echo "8|COMPLETED"; echo "$@"; exit 3\n')
    path = f"{WRAPPER.parent / 'accounting'}{os.pathsep}{there}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["sacct", "-X"], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, "7|CANCELLED\n8|COMPLETED\n-X\n"), done.stderr


def test_a_limit_of_submissions_is_asked_again_and_a_limit_of_size_is_not(tmp_path, monkeypatch):
    program = runpy.run_path(str(WRAPPER))
    policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    limit = f"sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: {policy}"
    assert program["FULL"].search(limit)
    assert not program["FULL"].search(f"sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: {policy}")
    full = f"[ -e {tmp_path}/room ] && echo 7 && exit\necho QOSMaxSubmitJobPerUserLimit >&2; exit 1"
    there = plant(tmp_path / "full", full)
    monkeypatch.setenv("PATH", f"{there}{os.pathsep}{os.environ['PATH']}")
    waited = []
    clock = SimpleNamespace(monotonic=lambda: 0, sleep=lambda s: (waited.append(s), (tmp_path / "room").touch()))
    monkeypatch.setitem(program["main"].__globals__, "time", clock)
    monkeypatch.setattr("sys.stdin", None)
    monkeypatch.setattr("sys.argv", ["sbatch"])
    assert program["main"]() == 0 and waited == [program["FULL_ASK_S"]]
