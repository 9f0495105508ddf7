"""Cost of submitting jobs one by one, in groups or as arrays: submissions, requests, time from first to last start.

`python benchmarks/slurm_arrays.py` (as root; tests/cluster/install.sh installs SLURM): a workflow of small jobs runs
through the profile, at the profile's own rates, on the cluster of the tests; in each round the ways come in random
order. `submissions` are calls of sbatch: an array counts once. `requests` are remote calls that the controller
answered, and `controller_cpu_s` is its processor time. `first_to_last_start_s` is from SLURM's records, in whole
seconds; jobs of a group start with their group.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/cluster"))
from slurm_cluster import Cluster, missing_accounting, missing_programs  # noqa: E402

ROUNDS = 3
JOBS = 24
WORKFLOW = """
rule all:
    input: expand("parts/{n}.txt", n=range(JOBS))
    localrule: True

rule part:
    output: "parts/{n}.txt"
    group: GROUP
    resources: mem_mb=1000, runtime=5
    shell: "echo {wildcards.n} >{output}"
"""
SQUEUE = ("--slurm-status-command", "squeue")
WAYS = {
    "one by one": (),
    "groups of 8": ("--group-components", "part=8"),
    "arrays of 12": (*SQUEUE, "--slurm-array-jobs", "part", "--slurm-array-limit", "12", "--jobs", "1000",
                     "--max-jobs-per-timespan", "1000/10s"),
}  # fmt: skip


def measure(cluster: Cluster, way: str) -> dict[str, float]:
    """One run of the workflow in an own folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        group = '"part"' if way.startswith("groups") else "None"
        (folder / "Snakefile").write_text(WORKFLOW.replace("JOBS", str(JOBS)).replace("GROUP", group))
        shutil.copytree(ROOT / "slurm", folder / "slurm")
        cluster.run("sdiag", "--reset")
        before, known = _controller_seconds(cluster), set(_starts(cluster))
        subprocess.run(
            [sys.executable, "-m", "snakemake", "--profile", "slurm", *WAYS[way], "--quiet", "all"],
            cwd=folder,
            env={**os.environ, **cluster.variables, "XDG_CACHE_HOME": str(folder / "cache")},
            check=True,
            capture_output=True,
        )
        starts = {job: start for job, start in _starts(cluster).items() if job not in known}
        said = cluster.run("sdiag").stdout
        by_type = said.partition("statistics by message type")[2].partition("statistics by user")[0]
        return {
            "submissions": len({job.partition("_")[0] for job in starts}),
            "requests": sum(map(int, re.findall(r"count:(\d+)", by_type))),
            "controller_cpu_s": _controller_seconds(cluster) - before,
            "first_to_last_start_s": (max(starts.values()) - min(starts.values())).total_seconds(),
        }


def _starts(cluster: Cluster) -> dict[str, datetime]:
    """When each job, or task of an array, started."""
    listed = cluster.run("squeue", "--noheader", "--array", "--states=all", "--format=%i|%S").stdout.split()
    pairs = (line.split("|") for line in listed)
    return {job: datetime.fromisoformat(start) for job, start in pairs if start != "N/A"}


def _controller_seconds(cluster: Cluster) -> float:
    """Processor time of the controller so far."""
    pid = json.loads((cluster.root / "controller.process").read_text())[0]
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print JSON."""
    if os.geteuid() != 0 or missing_programs():
        print("skipped: this needs root and SLURM (tests/cluster/install.sh)", file=sys.stderr)
        return
    shuffle = random.Random(0).shuffle
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as root, Cluster(Path(root), accounting=not missing_accounting()) as cluster:
        for _ in range(ROUNDS):
            ways = list(WAYS)
            shuffle(ways)
            for way in ways:
                found[way].append(measure(cluster, way))
                print(way, found[way][-1], file=sys.stderr)
    result = {
        way: {
            key: {"median": statistics.median(values), "all": values}
            for key in rounds[0]
            for values in [[round(one[key], 2) for one in rounds]]
        }
        for way, rounds in found.items()
    }
    print(json.dumps({"jobs": JOBS, "rounds": ROUNDS, "ways": result}, indent=1))


if __name__ == "__main__":
    main()
