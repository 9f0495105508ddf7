"""The real steps, in order, on a handful of identities: undisturbed, from nothing again, and killed in every stage."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ["--configfile", "config/demo.yaml", "config/test.yaml"]
# What appears while a stage works, and before it is done.
STAGES = {
    "data": "data/.progress/**/*.parquet",
    "distractors": "distractors/*/.progress/**/*",
    "tokens": "logs/tokens/extract_tokens/**/*.log",
    "heads": "heads/*/.progress/**/*",
    "scores": "logs/scores/score_nearid_bench/*.log",
    "paper": "logs/paper/make_table/*.log",
}
TIMED = {"logs", "benchmarks"}  # they tell what happened, not what came out
OWN_STORY = {"log.jsonl", "provenance.json", "manifest.json", "index.html"}  # seconds and machine stand in them


def start(project: Path) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "snakemake", "--nolock", "--rerun-incomplete", "--cores", "2", *CONFIG]
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(project / "cache")}
    # A session of its own, so that a kill takes the jobs along.
    return subprocess.Popen(
        program,
        cwd=project,
        env=environment,
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(project: Path) -> dict[str, bytes]:
    """Run to the end; what came out."""
    process = start(project)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    results = project / "results/test"
    assert not list(results.rglob("*.partial"))
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in sorted(results.rglob("*"))
        if path.is_file() and path.relative_to(results).parts[0] not in TIMED and path.name not in OWN_STORY
    }


def kill_once(project: Path, pattern: str) -> None:
    """Start, and SIGKILL everything as soon as a file of this pattern is there that was not."""
    results = project / "results/test"
    before = set(results.glob(pattern))
    process = start(project)
    end = time.monotonic() + 300
    while not set(results.glob(pattern)) - before:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def copy(target: Path) -> Path:
    target.mkdir()
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, target / name)
    for name in ("config", "workflow", "envs", "src"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return target


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    return finish(copy(tmp_path_factory.mktemp("undisturbed") / "project"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_in_every_stage_a_run_ends_with_the_same_bytes(undisturbed, tmp_path):
    project = copy(tmp_path / "project")
    for pattern in STAGES.values():
        kill_once(project, pattern)
    assert differences(finish(project), undisturbed) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_fresh_runs_give_the_same_bytes(undisturbed, tmp_path):
    assert differences(finish(copy(tmp_path / "project")), undisturbed) == []
    assert "paper/tables/table1.csv" in undisturbed


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    return sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
