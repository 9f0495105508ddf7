"""docs/use.md as it stands: every line of its shell and Python blocks, on the tiny run in place of the demo."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nearid.cli import nearid as command

PAGE = (Path(__file__).resolve().parents[2] / "docs/use.md").read_text()


@pytest.fixture
def here(run, picture, tmp_path, monkeypatch):
    """A folder in which the page's names mean something."""
    for name in ("a.jpg", "b.jpg", "refs/cup.jpg", "refs/two.png", "generated/cup.png", "generated/two.png"):
        picture(name)
    (tmp_path / "pairs.tsv").write_text("a.jpg\tb.jpg\nrefs/cup.jpg\tb.jpg\n")
    shutil.copytree(run.layout.root, tmp_path / "results/demo")
    shutil.copytree(run.layout.head("nearid"), tmp_path / "results/demo/heads/infonce")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_its_commands_run(here):
    shell = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).splitlines()
    lines = [line.split(" #")[0].replace("MODEL", "results/demo/heads/nearid") for line in shell]
    lines = [line for line in lines if line.strip() and not line.startswith("snakemake")]
    assert len(lines) == 8
    for line in lines:
        feed, _, call = line.rpartition("|")
        stdin = subprocess.check_output(feed, shell=True, text=True) if feed else None
        done = CliRunner().invoke(command, shlex.split(call)[1:], input=stdin)
        assert done.exit_code == 0, f"{line}\n{done.output}"
    assert (here / "scores.json").is_file()
    for name in ("model", "release", "sets/NearID"):
        assert (here / name / "README.md").is_file()


def test_its_python_runs(here):
    first, second = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(first, names)
    assert names["vectors"].shape[0] == 2
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 20, 3), dtype=np.uint8)
    names |= {"references": pictures[0], "generated": pictures[1]}
    exec(second, names)
    assert -1 <= float(names["score"].compute()) <= 1
