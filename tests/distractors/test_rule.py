"""The sources run by the workflow's rules: in shards, killed and restarted, without a network."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from painters import paint_shard
from releases import save_mtg, save_syncd
from tiny_pipelines import save_all

from nearid.config import load, step_settings
from nearid.data.positives import read_rows
from nearid.layout import Layout

ROOT = Path(__file__).parents[2]


class Run:
    """The paper's config with tiny models and a small SynCD, in a folder of its own."""

    def __init__(self, root: Path, models: dict[str, Any], sources: list[str], parts: int = 1) -> None:
        self.root, self.sources = root, sources
        self.layout = Layout(root / "results/tiny")
        shutil.copy(ROOT / "config.yaml", root)
        release, edits = save_syncd(root / "syncd"), save_mtg(root / "mtg")
        # About two images in a shard.
        rate = {"seconds_per_image": 60} if parts > 1 else {"seconds_per_image": 0}
        self.overlay = {
            "name": "tiny",
            "painting_minutes": 2.5 / parts,
            "dataset": {
                "shards": 2,
                "splits": {"val": 0, "test": 2},
                "syncd": {"path": str(release), "mtg": str(edits), "captions": ""},
            },
            "select": {"drop": ["figure5"]},  # this figure shows validation identities
            "sources": {name: self._shrink(models[name]) | rate for name in sources},
        }
        self.configure()

    def configure(self, **changes: Any) -> None:
        (self.root / "tiny.yaml").write_text(yaml.safe_dump(self.overlay | changes))

    @staticmethod
    def _shrink(source: dict[str, Any]) -> dict[str, Any]:
        return {"working_px": source["working_px"], "options": source["options"] | {"batch_size": 2}}

    def targets(self) -> list[str]:
        shards = [self.layout.distractors(name, shard) for name in self.sources for shard in ("000", "001")]
        return [str(path.relative_to(self.root)) for path in (*shards, self.layout.mtg("test"))]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        program = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(ROOT / "Snakefile"),
            "--directory",
            str(self.root),
        ]
        program += ["--cores", "2", "--nolock", "--rerun-incomplete", "--configfile", str(self.root / "tiny.yaml")]
        # A network namespace without any other host.
        alone = ["unshare", "--map-root-user", "--net"] if can_unshare() else []
        return subprocess.Popen(
            [*alone, *program, *arguments, "--", *self.targets()],
            cwd=self.root,
            env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(self.root / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def can_unshare() -> bool:
    return (
        subprocess.run(["unshare", "--map-root-user", "--net", "true"], capture_output=True, check=False).returncode
        == 0
    )


def test_rules_make_the_shards_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One source, in parts; `make rehearsal` runs all nine without kills."""
    sources, parts = ["sdxl"], 3
    run = Run(tmp_path, save_all(tmp_path / "models"), sources, parts)
    process = run.start()
    progress = run.layout.distractors(sources[0], "000").parent.parent
    end = time.monotonic() + 400
    # The first prompts are stored: a shard is being painted.
    while not list(progress.glob("*/.progress/*/*/0*.safetensors")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "nothing to kill within the time"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = [path for path in run.targets() if (tmp_path / path).exists()]
    assert len(done) < len(run.targets())

    process = run.start("--quiet", "rules")
    output = process.communicate(timeout=1800)[0]
    assert process.returncode == 0, output
    reports = [json.loads(path.read_text()) for path in run.layout.root.glob("distractors/*/*.report.json")]
    assert [report["parts"] for report in reports] == [parts] * len(reports)
    overlay = tmp_path / "tiny.yaml"
    monkeypatch.chdir(tmp_path)
    config = load(overlay)
    test_rows = set(json.loads(run.layout.splits.read_text())["test"])
    undisturbed = Layout(tmp_path / "undisturbed")
    shutil.copytree(run.layout.root / "data", undisturbed.root / "data")
    for name in sources:
        settings = step_settings("inpaint_shard", config, source=name)
        for shard in ("000", "001"):
            paint_shard(settings, undisturbed, shard)
            path = run.layout.distractors(name, shard)
            assert path.read_bytes() == undisturbed.distractors(name, shard).read_bytes(), (name, shard)
            assert not path.stat().st_mode & 0o222  # write-protected
    for name in sources:
        row = 0
        for shard in ("000", "001"):
            for painted in read_rows(run.layout.distractors(name, shard)):
                trained_on = name in ("flux", "flux_1024", "qwen", "qwen_1328")
                assert (painted["nimg1"] is not None) == (trained_on or row in test_rows)
                row += 1
    assert len(read_rows(run.layout.mtg("test"))) == 2
    assert not list(run.layout.root.glob("distractors/*/*of*")) and not list(run.layout.root.glob("distractors/*/.*"))
    for minutes in (0.5, 1000):
        run.configure(painting_minutes=minutes)
        output = run.start("--dry-run").communicate(timeout=300)[0]
        assert "Nothing to be done" in output, output
