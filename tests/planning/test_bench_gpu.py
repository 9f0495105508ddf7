"""`make bench-gpu`: its code on tiny models, its message without a GPU, and how the plan uses its rates."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nearid.config import load
from nearid.layout import Layout
from nearid.planning.plan import format_plan, make_plan
from nearid.workflow import rates
from nearid.workflow.jobs import Jobs
from nearid.workflow.needs import needs_of

ROOT = Path(__file__).resolve().parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = f"{ROOT / 'src'}:{ROOT / 'benchmarks'}"
    return subprocess.run(
        [sys.executable, "benchmarks/gpu.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "NEARID_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_gpu_it_says_at_once_what_to_do():
    done = bench()
    assert done.returncode == 2 and "srun" in done.stderr and "--small" in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout


@pytest.mark.slow
def test_all_parts_run_small(tmp_path):
    done = bench("--small", "--output", str(tmp_path / "gpu.json"))
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["training"]["step_s"] > 0 and found["extraction"]["images_per_s"] > 0
    assert len(found["painting"]) == 9 and all(each["seconds_per_image"] > 0 for each in found["painting"].values())
    assert {"extract/gpu", "train/gpu", "score/vlm_judge", "flux_fill/1024"} <= set(found["rates"])
    assert not rates.MEASURED.exists(), "tiny models say nothing to the plan"


def test_training_runs_small_in_this_suite_too(tmp_path):
    done = bench("--small", "--parts", "training", "--output", str(tmp_path / "gpu.json"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "gpu.json").read_text())["training"]["heads"] == 2


@pytest.fixture
def measured(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "measured.json"
    monkeypatch.setattr(rates, "MEASURED", path)
    return path


def test_the_paper_s_painting_is_expected_within_250_hours_of_an_h100(measured, tmp_path):
    plan = make_plan(load(), Layout(tmp_path / "run"))
    (line,) = [line for line in plan.painting if line.startswith("Painting")]
    assert 0 < float(line.split(" on H100s")[0].split(", ")[-1]) <= 250
    assert len(format_plan(plan).splitlines()) < 50 and "GB" in format_plan(plan)


def test_measured_rates_take_the_place_of_expected_ones(measured, tmp_path):
    measured.write_text(json.dumps({"card": "H100", "rates": {"flux_fill/1024": 9.0, "extract/gpu": 1e-9}}))
    plan = make_plan(load(), Layout(tmp_path / "run"))
    assert plan.basis["flux_fill/1024"] == plan.basis["extract/gpu"] == "make bench-gpu, H100"
    jobs = [job for job in Jobs(load(), Layout(tmp_path / "run")).all() if job.rate == "flux_fill/1024"]
    assert jobs and all(rates.default_rate(job).per_unit == 9.0 for job in jobs)
    assert all(needs_of(job).minutes * 60 >= 1.3 * 9.0 * job.units for job in jobs)
