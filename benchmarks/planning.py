"""How long planning takes and how many jobs there are: the paper's run, and one with ten times the shards.

`python benchmarks/planning.py`: rounds interleaved, processor time of a whole `snakemake -n`, medians.
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


def plan(shards: int, folder: Path) -> tuple[float, dict[str, int]]:
    """Processor seconds of a dry run of config.yaml with so many shards, and its jobs by rule."""
    overlay = folder / f"{shards}.yaml"
    overlay.write_text(f"dataset: {{shards: {shards}}}\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--nolock", "--configfile", str(overlay)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)}
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, jobs


def main() -> None:
    """Measure and print JSON."""
    sizes = (16, 160)
    with tempfile.TemporaryDirectory() as folder:
        rounds = [{size: plan(size, Path(folder)) for size in sizes} for _ in range(ROUNDS)]
    found = {}
    for size in sizes:
        seconds = statistics.median(one[size][0] for one in rounds)
        jobs = rounds[0][size][1]
        found[f"{size} shards"] = {"cpu_s": round(seconds, 2), "ms_per_job": round(1000 * seconds / jobs["total"], 2)}
        found[f"{size} shards"] |= {"jobs": jobs}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
