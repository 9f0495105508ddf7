"""`--software-deployment-method conda`, as far as it works without channels: only conda itself is a stand-in."""

import json
import os
import sys

import pytest
import yaml

# Records what it should install, and makes an environment whose only program is a Python that records its own path.
CONDA = """#!{python}
import json, os, sys
from pathlib import Path

words = sys.argv[1:]
if words == ["--version"]:
    print("conda 24.9.2")
elif words[0] == "info":
    print(json.dumps({{"conda_prefix": "{base}", "platform": "linux-64"}}))
elif words[0] == "config":
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif words[:2] == ["env", "create"]:
    programs = Path(words[words.index("--prefix") + 1]) / "bin"
    programs.mkdir(parents=True)
    name = "{base}/" + str(len(os.listdir("{base}"))) + ".json"
    Path(name).write_text(json.dumps([str(programs), Path(words[words.index("--file") + 1]).read_text()]))
    (programs / "python").write_text('#!/bin/sh\\necho "$0" >>{base}/used\\nexec {python} "$@"\\n')
    (programs / "python").chmod(0o755)
elif words[0] != "clean":
    sys.exit(f"not expected: {{words}}")
"""


@pytest.fixture
def base(tmp_path, monkeypatch):
    """Folder of the stand-in for conda, which is first in PATH."""
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    (base / "bin/activate").write_text('export PATH="$1/bin:$PATH"\n')
    (base / "bin/conda").write_text(CONDA.format(python=sys.executable, base=base))
    (base / "bin/conda").chmod(0o755)
    monkeypatch.setenv("PATH", f"{base / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return base


def test_each_step_runs_in_the_environment_that_its_rule_names(base, project):
    conda = ("--software-deployment-method", "conda", "--conda-frontend", "conda")
    done = project.snakemake(*conda, "--conda-create-envs-only", "--forceall", "--configfile", *project.configs(()))
    assert done.returncode == 0, done.stdout + done.stderr
    made = [json.loads(path.read_text()) for path in base.glob("*.json")]
    names = {text: path.stem for path in (project.root / "envs").glob("*.yaml") if (text := path.read_text())}
    folders = {names[text]: folder for folder, text in made}
    assert folders.keys() >= {"data", "diffusion", "train", "eval", "paper"}, "the files that are in envs/, unchanged"
    assert all(yaml.safe_load(text)["channels"] == ["conda-forge", "nodefaults"] for _, text in made)
    run = ("--forcerun", "make_table", "--until", "make_table", "--rerun-triggers", "mtime")
    done = project.snakemake(*conda, *run, "--configfile", *project.configs(()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert set((base / "used").read_text().split()) == {f"{folders['paper']}/python"}
