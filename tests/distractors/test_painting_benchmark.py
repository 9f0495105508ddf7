"""The painting benchmark runs to its end; its measurements on a CPU are meaningless."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_both_sizes_of_models_are_painted_both_ways(tmp_path: Path) -> None:
    program = [sys.executable, "benchmarks/painting.py", "--tiny", "--batches", "1", "--sources", "flux", "sdxl"]
    done = subprocess.run(
        [*program, "--output", str(tmp_path / "painting.json")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'benchmarks'}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "painting.json").read_text())
    for source in ("flux", "sdxl"):
        assert set(found[source]["batch_sizes"]) == {"1", "2"}
        for each in found[source]["batch_sizes"].values():
            assert each["painted_at_once"] and each["seconds_per_image"] > 0 and each["bare_seconds_per_image"] > 0
