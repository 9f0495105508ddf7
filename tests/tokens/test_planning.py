"""The cost of tokens, and which shards must be made again, from the config alone."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from nearid.cli.tokens import tokens as commands
from nearid.config import load
from nearid.layout import Layout
from nearid.planning.tokens import format_token_plan, plan_tokens
from nearid.tokens.shard import KEY
from nearid.tokens.writer import write_shard
from nearid.workflow.jobs import Jobs

ROOT = Path(__file__).resolve().parents[2]
PLAIN, AUGMENTED = "config/plain.yaml", "config/augmented.yaml"


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_paper_is_near_what_the_specification_counts(tmp_path):
    """docs/performance.md 3: 239 k training images, 0.40 TB a variant, 17 min each on an A100, 3.1 TB read a run."""
    plan = plan_tokens(load(PLAIN), Layout(tmp_path))
    trained = [row for row in plan.collections if row.images > 10_000]
    assert sum(row.images for row in trained) == pytest.approx(5 * 45_215 + 20_000, rel=0.001)
    assert sum(row.size for row in trained) == pytest.approx(2 * 0.41e12, rel=0.03)
    starts = 30 * sum(row.files for row in trained)
    assert (sum(row.seconds for row in trained) - starts) / 2 == pytest.approx(17 * 60, rel=0.05)
    together = next(epoch for epoch in plan.epochs if "nearid" in epoch.ablations)
    assert together.size * together.epochs == pytest.approx(3.1e12, rel=0.02)
    assert together.seconds == pytest.approx(together.size / 6e9)


def test_augmented_variants_are_counted(tmp_path):
    plain, mirrored, drawn = (
        next(row for row in plan_tokens(load(*overlays), Layout(tmp_path)).collections if row.collection == "flux")
        for overlays in ([PLAIN], [PLAIN, _overlay(tmp_path, {"augmentation": {"flip": 0.5}})], [AUGMENTED])
    )
    assert plain.images == mirrored.images == drawn.images
    held_out = 600 / 19_386 * plain.images
    tested = 500 / 19_386 * plain.images
    training = plain.images - held_out
    assert plain.stored == pytest.approx(2 * training + held_out + tested)
    assert mirrored.stored == pytest.approx(4 * training + held_out + tested)
    assert drawn.stored == pytest.approx(8 * training + held_out + tested)
    assert drawn.size / plain.size == pytest.approx(drawn.stored / plain.stored)
    assert mirrored.variants == ("full", "full_flip", "fg", "fg_flip")
    told = CliRunner().invoke(commands, ["plan", "config/augmented.yaml"])
    assert re.search(r"siglip2_so400m flux +45215  full,fg,8 draws +353090", told.output), told.output


def _overlay(folder, training):
    path = folder / "overlay.yaml"
    path.write_text(yaml.safe_dump({"training": training}))
    return path


def test_the_docs_show_what_the_command_says(tmp_path):
    shown = re.search(r"```\n(paper: tokens\n.*?)```", (ROOT / "docs/tokens.md").read_text(), re.DOTALL)
    assert shown and shown[1] == format_token_plan(plan_tokens(load(PLAIN), Layout(tmp_path)))


def test_repair_plan_names_what_must_be_made_and_how(tmp_path):
    overlay = tmp_path / "here.yaml"
    overlay.write_text(yaml.safe_dump({"results_dir": str(tmp_path)}))
    overlays = ["config/demo.yaml", str(overlay)]
    layout = Layout(tmp_path / "demo")
    paths = [job.outputs[0] for job in Jobs(load(*map(Path, overlays)), layout).of("extract_tokens")]
    origin = {"backbone": "demo_siglip", "weights_hash": "w", "preprocess_hash": "p"}
    for number, path in enumerate(paths):
        keys = np.array([(number, 0, b"full")], KEY)
        write_shard(path, keys, [np.zeros((1, 2, 3), np.float16)], (2, 3), origin)
    whole = CliRunner().invoke(commands, ["repair-plan", *overlays])
    assert whole.exit_code == 0 and "every shard is there" in whole.output

    missing, cut, foreign = paths[0], paths[3], paths[5]
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    write_shard(foreign, np.array([(1, 0, b"full")], KEY), [np.zeros((1, 2, 3))], (2, 3), origin | {"backbone": "clip"})
    found = CliRunner().invoke(commands, ["repair-plan", *overlays])
    assert found.exit_code == 1
    *lines, _, command = found.output.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(missing), str(cut), str(foreign)]
    assert "missing" in lines[0] and "not a whole HDF5 file" in lines[1] and "clip" in lines[2]

    words = shlex.split(command)
    assert words[0] == "snakemake"
    dry = [sys.executable, "-m", *words[:1], "-n", "--nolock", "--quiet", "host", *words[1:]]
    planned = subprocess.run(dry, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    made = re.findall(r"^rule extract_tokens:.*?output: (\S+)", planned.stdout, re.DOTALL | re.MULTILINE)
    assert sorted(made) == sorted(map(str, (missing, cut, foreign)))

    # Other weights than the backbone's are detected when everything is read.
    thorough = CliRunner().invoke(commands, ["repair-plan", "--whole", *overlays])
    assert thorough.output.count("tokens of weights_hash w") == len(paths) - 3
