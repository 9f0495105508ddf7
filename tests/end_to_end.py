"""The real workflow on a handful of identities, in a copy of the project of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ["--configfile", "config/demo.yaml", "config/test.yaml"]
TIMED = {"logs", "benchmarks"}  # they record how it ran, not results
# These contain seconds, times and the machine.
OWN_STORY = {"log.jsonl", "provenance.json", "manifest.json", "provenance.js", "costs.csv", "ro-crate-metadata.json"}


def copy_project(target: Path) -> Path:
    """Copy what a run needs."""
    target.mkdir()
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, target / name)
    for name in ("config", "workflow", "envs", "src", "slurm"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return target


def start(
    project: Path,
    *arguments: str,
    how: tuple[str, ...] = ("--cores", "2"),
    variables: dict[str, str] | None = None,
    config: list[str] = CONFIG,
) -> subprocess.Popen[str]:
    """Start Snakemake in a session of its own, so that a kill also reaches its local jobs."""
    program = [sys.executable, "-m", "snakemake", "--nolock", "--rerun-incomplete", *how, *config, *arguments]
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(project / "cache")}
    with (project / "said.txt").open("a") as said:
        return subprocess.Popen(
            program,
            cwd=project,
            env=environment | (variables or {}),
            start_new_session=True,
            stdout=said,
            stderr=said,
            text=True,
        )


def end(process: subprocess.Popen[str], project: Path, seconds: float = 1500) -> dict[str, bytes]:
    """Wait for the end of a run; returns its output."""
    process.wait(seconds)
    assert process.returncode == 0, (project / "said.txt").read_text()[-20000:]
    return read_results(project)


def read_results(project: Path) -> dict[str, bytes]:
    """The results (so far, if only a part was run), without records of how they were made."""
    results = project / "results/test"
    assert not list(results.rglob("*.partial"))
    # Config, seeds, code, versions and every hash; the other part describes this run.
    manifests = {
        path.name: json.dumps(json.loads(path.read_text())["result"], indent=1).encode()
        for path in results.glob("paper/manifest.json")
    }
    return manifests | {
        str(path.relative_to(results)): path.read_bytes()
        for path in sorted(results.rglob("*"))
        if path.is_file()
        and path.relative_to(results).parts[0] not in TIMED
        and path.name not in OWN_STORY | {".lock"}
        and path.suffix != ".seen"
    }


def await_file(process: subprocess.Popen[str], project: Path, pattern: str, seconds: float = 600) -> None:
    """Wait until a new file of this pattern appears in the results."""
    results = project / "results/test"
    before = set(results.glob(pattern))
    limit = time.monotonic() + seconds
    while not set(results.glob(pattern)) - before:
        assert process.poll() is None, (project / "said.txt").read_text()[-20000:]
        assert time.monotonic() < limit, f"no {pattern} within {seconds} s"
        time.sleep(0.02)


def kill(process: subprocess.Popen[str]) -> None:
    """Send SIGKILL to a run and its local jobs."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """Names of the results that differ, or are only in one of the two."""
    return sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
