"""As many GPU jobs as GPUs on one machine."""

import os
import subprocess
import sys
from pathlib import Path

from nearid.distributed.gpus import visible_gpus

ROOT = Path(__file__).resolve().parents[2]


def test_gpus_are_counted_as_the_driver_lists_them_or_as_the_variable_says(tmp_path):
    assert visible_gpus({}, tmp_path / "none") == 0
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert visible_gpus({}, tmp_path) == 2
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "1"}, tmp_path) == 1
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == 0
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path) == 0


def test_a_run_on_this_machine_has_so_many_gpu_jobs_and_make_says_another_number(tmp_path):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "0,1", "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "snakemake", "--nolock", "--cores", "1", "--configfile", "config/demo.yaml"]
    done = subprocess.run(
        [*command, "--config", f"results_dir={tmp_path}", "--", "plan"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'gpu=Resource("gpu", 2)' in done.stdout + done.stderr
    shown = subprocess.run(["make", "-n", "paper", "GPUS=3"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "gpu=3" in shown.stdout
