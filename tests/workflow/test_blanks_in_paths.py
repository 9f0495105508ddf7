"""Blanks and umlauts in every path: checkout, photographs, results, model folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
OVERLAY = """
name: mine
photos_dir: ../my photos ü
results_dir: ../my results ü
backbones: {mine: {display: Mine, kind: siglip, path: ../my model ü, batch_size: 4}}
scorers: {mine: {display: Mine, kind: encoder, backbone: mine, readout: map}}
select: {scorers: [colour_histogram, mine], tables: [table5], figures: [], sources: [cut_paste]}
groups: {all: [cut_paste]}
paper: {tables: {table5: {scorers: [colour_histogram, mine]}}}
"""


@pytest.mark.slow
def test_a_whole_run_in_a_folder_with_blanks(tmp_path):
    checkout = tmp_path / "my run ü" / "check out"
    for name in ("config", "workflow", "envs", "src"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, checkout / name)
    shutil.copytree(ROOT / "src/nearid/demo/siglip", checkout.parent / "my model ü")
    rng = np.random.default_rng(0)
    for thing in ("tasse é", "verre"):
        (checkout.parent / "my photos ü" / thing).mkdir(parents=True)
        for view in range(2):
            image = rng.integers(90, 160, (64, 64, 3), np.uint8)
            image[20:44, 18:46] = rng.integers(0, 255, 3)
            Image.fromarray(image).save(checkout.parent / "my photos ü" / thing / f"view {view}.png")
    (checkout / "mine.yaml").write_text(OVERLAY)
    configs = ("config/demo.yaml", "config/photos.yaml", "mine.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", *configs],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": "", "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = (checkout.parent / "my results ü/mine/paper/tables/table5.md").read_text()
    assert "Colour histogram" in table and "Mine" in table
