"""A copy of the project with fake steps: the real workflow and package code, planned and run in seconds."""

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Writes every file that a step of this config would, with different content each time.
FAKE = """
import json, os, sys
from pathlib import Path
from nearid.layout import Layout, shard_ids

stage, command, *rest = sys.argv[3:]
ids = dict(zip((option[2:] for option in rest[::2]), rest[1::2]))
layout, settings = Layout(ids["results"]), json.loads(ids.get("settings", "{}"))

def files():
    if command == "curate":
        yield from map(layout.positives, shard_ids(settings["shards"]))
        yield from (layout.identities, layout.splits, layout.dropped, layout.funnel)
    elif command == "raters":
        yield layout.raters / "ratings.json"
    elif (stage, command) == ("data", "mtg"):
        yield layout.mtg(ids["split"])
    elif command == "inpaint" and "part" not in ids:
        yield layout.distractors(ids["source"], ids["shard"])
        yield layout.distractor_report(ids["source"], ids["shard"])
    elif command == "inpaint":
        pass
    elif command == "extract":
        yield layout.tokens(ids["backbone"], ids["collection"], ids["shard"])
    elif command == "train":
        for name in ("head.safetensors", "config.json", "log.jsonl", "provenance.json"):
            yield layout.head_file(ids["ablation"], name)
        if settings["training"]["keep_every_steps"]:
            yield layout.head_file(ids["ablation"], "timelapse.safetensors")
    elif command in ("nearid-bench", "mtg", "dreambench"):
        yield layout.scores(ids["scorer"], command.replace("-", "_"))
    elif command == "summarise":
        yield layout.metrics(ids["scorer"])
    elif command == "table":
        yield from (layout.table(ids["table"], suffix) for suffix in ("csv", "tex", "md"))
    elif command == "identities":
        yield layout.paper("identities") / "index.js"
    elif command == "crate":
        yield from (layout.crate, layout.paper("workflow") / "Snakefile")
    elif command == "figure-data":
        yield layout.figure_data(ids["figure"])
    elif command == "figure":
        yield from (layout.figure(ids["figure"], suffix) for suffix in ("pdf", "png", "gif"))
    else:
        names = {"compare": "comparison.csv", "page": "index.html", "summary": "summary.txt"}
        yield layout.paper(names.get(command, "manifest.json"))
        if command == "manifest":
            yield from map(layout.paper, ("provenance.js", "costs.csv"))

for path in files():
    path.parent.mkdir(parents=True, exist_ok=True)
    report = json.dumps({"parts": int(ids.get("join", 1))}).encode()
    path.write_bytes(report if path.name.endswith(".report.json") else os.urandom(16))
"""
OVERLAY = """
results_dir: results
backbones: {demo_siglip: {path: backbone}}
training: {pack: all}
"""


class Project:
    """A checkout at `root` on which Snakemake is run, with the tiny config unless others are given."""

    def __init__(self, root: Path, *configs: str) -> None:
        self.root = root
        self._configs = configs or ("config/demo.yaml", "config/test.yaml", "fake.yaml")

    def overlay(self, text: str) -> str:
        """Write an overlay; returns its path."""
        path = self.root / f"overlay{len(list(self.root.glob('overlay*.yaml')))}.yaml"
        path.write_text(text)
        return path.name

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake here."""
        program = [sys.executable, "-m", "snakemake", "--nocolor", "--cores", "2", *arguments]
        environment = {**os.environ, "PYTHONPATH": "", "XDG_CACHE_HOME": str(self.root / "cache")}
        return subprocess.run(program, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def run(self, *overlays: str) -> None:
        """Make everything of the tiny config with `overlays` on top."""
        done = self.snakemake("--quiet", "all", "--configfile", *self.configs(overlays))
        assert done.returncode == 0, done.stdout + done.stderr

    def plan(self, *overlays: str) -> dict[str, set[str]]:
        """What would run: rule -> the ids of its jobs."""
        done = self.snakemake("--dry-run", "--configfile", *self.configs(overlays))
        assert done.returncode == 0, done.stdout + done.stderr
        jobs: dict[str, set[str]] = defaultdict(set)
        rule = ""
        for line in (done.stdout + done.stderr).splitlines():
            if found := re.match(r"(?:local)?rule (\w+):", line):
                rule = found[1]
                jobs[rule]  # creates the entry, also for a rule without wildcards
            elif found := re.match(r"\s+wildcards: (.*)", line):
                jobs[rule].add(found[1])
        jobs.pop("default", None)
        return dict(jobs)

    def configs(self, overlays: tuple[str, ...]) -> list[str]:
        return [*self._configs, *overlays]


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A project after one complete run."""
    root = tmp_path_factory.mktemp("finished") / "project"
    root.mkdir()
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, root / name)
    for name in ("config", "workflow", "envs"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("siglip", "__pycache__", "*.egg-info"))
    (root / "src/nearid/__main__.py").write_text(FAKE)
    (root / "backbone").mkdir()
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (root / "backbone" / name).write_text("fake")
    (root / "fake.yaml").write_text(OVERLAY)
    Project(root).run()
    return root


@pytest.fixture(scope="session")
def open_project() -> type[Project]:
    """Opens a checkout, given its folder and, if needed, configs other than the tiny one."""
    return Project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished project for one test, with times and Snakemake's records."""
    shutil.copytree(finished, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")
