"""How long the dress rehearsal of config.yaml takes, in all and by rule.

`python benchmarks/rehearsal.py [OVERLAY ...]`, on a machine with nothing else to do: from nothing to the page, then a
second start that finds nothing to do. Seconds of a rule are sums over its jobs, whose processes include their imports.
"""

import json
import os
import resource
import sys
import tempfile
from pathlib import Path

from nearid.rehearsal.run import rehearse


def cpu_seconds() -> float:
    """Of this process and all that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Measure and print JSON; Snakemake's own words go to the terminal."""
    overlays = [Path(name) for name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        before = cpu_seconds()
        first = rehearse(overlays, Path(folder))
        cpu_s = cpu_seconds() - before
        second = rehearse(overlays, Path(folder))
    found = {
        "passed": first.passed and second.passed,
        "cores": len(os.sched_getaffinity(0)),
        "jobs": sum(rule["jobs"] for rule in first.rules),
        "wall_s": first.seconds,
        "cpu_s": round(cpu_s, 1),
        "wall_s_of_second_start": second.seconds,
        "load_at_end": os.getloadavg(),
        "rules": first.rules,
        "empty_cells": sum(len(cells.rows) * len(cells.columns) for cells in first.empty),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
