"""How long planning takes and how many jobs there are: the paper's run, and one with ten times the shards.

`python benchmarks/planning.py`: processor time of whole commands, rounds interleaved. `plan` is all that comes before
the first job: imports, parsing, the graph of all jobs (`snakemake --rulegraph`). `dry_run` is `snakemake -n`, which
also describes every job. `job` is what a job of a cluster pays before its own command: imports, parsing, its own part
of the graph; a SLURM job pays it twice, since Snakemake starts itself again in a step. `imports` is Snakemake's share.
"""

import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3
# As Snakemake starts itself in a job of a cluster, but that nothing is run.
JOB = (
    *("--target-jobs", "curate_positives:", "--allowed-rules", "curate_positives", "--force", "--cores", "1", "-n"),
    *("--max-inventory-time", "0", "--no-hooks", "--ignore-incomplete", "--mode", "remote"),
)


def measure(shards: int, folder: Path, *how: str) -> tuple[float, str]:
    """Processor seconds of Snakemake with config.yaml and so many shards, and what it says."""
    overlay = folder / f"{shards}.yaml"
    overlay.write_text(f"dataset: {{shards: {shards}}}\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--nolock", *how, "--configfile", str(overlay)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout + done.stderr


def main() -> None:
    """Measure and print JSON."""
    sizes = (16, 160)
    ways = {"plan": ("--rulegraph",), "dry_run": ("-n", "--quiet", "rules"), "job": JOB, "imports": ("--version",)}
    with tempfile.TemporaryDirectory() as folder:
        rounds = [
            {(size, way): measure(size, Path(folder), *how) for size in sizes for way, how in ways.items()}
            for _ in range(ROUNDS)
        ]
    found = {}
    for size in sizes:
        said = rounds[0][size, "dry_run"][1]
        jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}
        seconds = {way: sorted(one[size, way][0] for one in rounds) for way in ways}
        found[f"{size} shards"] = {
            **{
                f"{way}_cpu_s": {"median": round(statistics.median(own), 2), "all": [round(each, 2) for each in own]}
                for way, own in seconds.items()
            },
            "plan_ms_per_job": round(1000 * statistics.median(seconds["plan"]) / jobs["total"], 2),
            "jobs": jobs,
        }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
