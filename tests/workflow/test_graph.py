"""The model of the workflow equals the workflow: same rules, same jobs, one maker for each file."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from nearid.config import load
from nearid.config.downloads import named_downloads
from nearid.config.uses import find_uses
from nearid.layout import Layout
from nearid.workflow.graph import Graph
from nearid.workflow.steps import RULES, STAGES, STEPS

ROOT = Path(__file__).resolve().parents[2]
# Targets that are made on request; they run no step.
TARGETS = {"all", "exports", "quality_sheets", "plan"}
CONFIGS = {
    "paper": (),
    "demo": ("config/demo.yaml",),
    "one of each kind": ("tests/rehearsal/few.yaml",),
    "released distractors": ("config/released.yaml",),
    "ratings alone": ("config/ratings.yaml",),
    "images in training": ("config/demo.yaml", "config/online.yaml"),
}


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_rule_is_a_step_s_and_every_step_has_its_rules():
    text = "".join(path.read_text() for path in [*ROOT.glob("workflow/rules/*.smk"), ROOT / "workflow/Snakefile"])
    rules = {*re.findall(r"(?m)^rule (\w+):", text), *re.findall(r"(?m)^use rule \w+ as (\w+) with:", text)}
    assert rules - TARGETS == set(RULES)
    assert {step.stage for step in STEPS.values()} <= set(STAGES)


@pytest.mark.parametrize("overlays", CONFIGS.values(), ids=CONFIGS)
def test_jobs_are_those_that_snakemake_plans(overlays, tmp_path):
    command = [sys.executable, "-m", "snakemake", "--nolock", "-n", "--quiet", "rules", "--config"]
    command += [f"results_dir={tmp_path}", *(["--configfile", *overlays] if overlays else [])]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    found = re.findall(r"^(\w+)\s+(\d+)\s*$", done.stdout + done.stderr, re.MULTILINE)
    theirs = {rule: int(count) for rule, count in found if rule not in ("all", "total", "default")}
    graph = Graph(load(*overlays), Layout(tmp_path / "run"))
    # Downloads that exist already are no jobs any more.
    ours = [job for job in graph.jobs() if job.step.name != "fetch_download" or not graph.outputs(job)[0].exists()]
    assert Counter(map(graph.rule, ours)) == theirs


@pytest.mark.parametrize("overlays", CONFIGS.values(), ids=CONFIGS)
def test_every_file_has_one_maker(overlays, tmp_path):
    graph = Graph(load(*overlays), Layout(tmp_path / "run"))
    targets = [*graph.files.everything(), *graph.files.exports(), *graph.files.quality_sheets()]
    made = Counter(path for job in graph.jobs(targets) for path in graph.outputs(job))
    assert max(made.values()) == 1
    for path in made:
        job = graph.maker(str(path))
        assert job is not None and path in graph.outputs(job)


def test_a_file_that_no_step_makes_is_told(tmp_path):
    graph = Graph(load("config/demo.yaml"), Layout(tmp_path))
    with pytest.raises(LookupError, match="no step makes it"):
        graph.jobs([tmp_path / "heads/nearid/weights.bin"])


def test_inputs_of_one_step(tmp_path):
    """The inputs of `train_head`, written out by hand: all collections of its mix, and no more."""
    config = load("config/demo.yaml")
    graph, mix = Graph(config, Layout(tmp_path)), config["mixes"][config["ablations"]["nearid"]["mix"]]
    shards = [f"{number:03d}" for number in range(config["dataset"]["shards"])]
    tokens = tmp_path / "tokens/demo_siglip"
    wanted = {str(tokens / name / f"{shard}.h5") for name in ("positives", *mix["sources"]) for shard in shards}
    wanted |= (
        {str(tokens / "mtg_train/000.h5"), str(tmp_path / "data/mtg/train.parquet")} if mix["mtg_repeats"] else set()
    )
    wanted |= {str(tmp_path / "data" / name) for name in ("identities.parquet", "splits.json")}
    found = {path for path in graph.inputs("train_head", ablation="nearid") if path.startswith(str(tmp_path))}
    assert found - {path for path in found if "/inputs/" in path} == wanted
    assert [Path(path).name for path in found - wanted] and all("/inputs/" in path for path in found - wanted)


@pytest.mark.parametrize("overlays", CONFIGS.values(), ids=CONFIGS)
def test_a_job_waits_for_the_downloads_that_its_settings_name(overlays, tmp_path):
    config = load(*overlays)
    graph = Graph(config, Layout(tmp_path / "run"))
    needed = {use.download for use in find_uses(config)}
    for job in graph.jobs():
        if job.step.name != "write_manifest":  # it has the whole config, and reads none of them
            named = needed & set(named_downloads(graph.settings(job.step.name, **job.ids)))
            assert {f"resources/{name}/fetched.json" for name in named} <= set(graph.inputs(job.step.name, **job.ids))
