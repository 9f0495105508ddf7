"""No text of a config becomes part of a shell command."""

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nearid.config import complete, load
from nearid.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
EVIL = "; touch x; $(touch x) `touch x` 'ü' \"b\" | & > x \\ * \n touch x"
EVIL_FOLDER = "a; touch x; $(touch x) `touch x` 'ü' \"b\" | & > x \\ *"
# Records its arguments instead of running.
STUB = f"#!{sys.executable}\nimport json, sys\nopen('calls', 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"


def test_every_value_in_a_shell_line_is_quoted():
    """Except the number of threads, which is Snakemake's own."""
    found = 0
    for path in (ROOT / "workflow").rglob("*.smk"):
        for block in re.findall(r"^    shell:\n((?:        .*\n)+)", path.read_text(), re.MULTILINE):
            fields = re.findall(r"{(.*?)}", block)
            found += len(fields)
            assert [name for name in fields if not name.endswith(":q") and name != "threads"] == [], path
    assert found > 50


def test_an_id_ends_where_its_pattern_does():
    with pytest.raises(UserError, match="name"):
        complete({**load("config/demo.yaml"), "name": "test\n"})


@pytest.mark.parametrize("folder", ["a\nb", "a{b}", ""])
def test_a_results_folder_that_snakemake_could_not_name_is_refused(folder):
    with pytest.raises(UserError, match="results_dir"):
        complete({**load("config/demo.yaml"), "results_dir": folder})


def test_a_hostile_overlay_runs_nothing(project, tmp_path):
    config, changed = poisoned(load("config/demo.yaml", "config/test.yaml"))
    assert {"results_dir", "mirror", "photos_dir"} <= {name.partition(".")[0] for name in changed}
    assert len(changed) > 30
    folder = config["backbones"]["demo_siglip"]["path"]
    shutil.copytree(project.root / "backbone", project.root / folder)
    config["downloads"] = {"evil": {"hub": EVIL, "kind": "model", "licence": EVIL, "files": [EVIL]}}
    overlay = project.overlay(yaml.safe_dump(config))
    done = project.snakemake(
        "--dry-run",
        "--printshellcmds",
        "--forceall",
        "--configfile",
        overlay,
        "--",
        "default",
        "resources/evil/fetched.json",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Every command as Snakemake would give it to the shell, run by a shell whose python only records its arguments.
    said = done.stdout + done.stderr
    lines = re.findall(r"^Shell command: (.*?)\n(?=\n\[|Job stats:|\Z)", said, re.MULTILINE | re.DOTALL)
    lines = [line for line in lines if line != "None"]
    assert {"curate", "inpaint", "extract", "train", "nearid-bench", "download"} <= set(" ".join(lines).split())
    work, programs = tmp_path / "work", tmp_path / "bin"
    for path in (work, programs):
        path.mkdir()
    (programs / "python").write_text(STUB)
    (programs / "python").chmod(0o755)
    script = tmp_path / "script"
    script.write_text("\n".join(f"({line})" for line in lines))
    subprocess.run(["bash", "-eu", script], cwd=work, env={"PATH": f"{programs}:/usr/bin:/bin"}, check=True)
    assert [path.name for path in work.iterdir()] == ["calls"], "something else ran"
    calls = [json.loads(line) for line in (work / "calls").read_text().splitlines()]
    assert len(calls) == len(lines)
    for call in calls:
        if "--results" in call:
            assert call[call.index("--results") + 1] == f"{config['results_dir']}/test"
        if "--settings" in call:
            json.loads(call[call.index("--settings") + 1])
    assert any("--mirror" in call and call[call.index("--mirror") + 1] == EVIL for call in calls)


def test_a_module_in_the_working_directory_is_not_run(project):
    (project.root / "json.py").write_text("open('ran', 'w')\nraise SystemExit('not this one')\n")
    table = "results/test/paper/tables/table1.md"
    (project.root / table).unlink()
    program = [Path(sys.executable).with_name("snakemake"), "--cores", "1", "--configfile", *project.configs(())]
    done = subprocess.run([*program, "--", table], cwd=project.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.root / table).is_file() and not (project.root / "ran").exists()


def test_photos_in_the_makefile_are_one_word(tmp_path):
    done = subprocess.run(
        [
            "make",
            "--dry-run",
            "photos",
            f"PHOTOS={EVIL_FOLDER.replace('$', '$$')}",
            f"VENV={tmp_path}",
            "--old-file=setup",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "touch x" not in done.stdout.replace(f"{tmp_path}/.complete", "")
    assert '$PHOTOS"' in done.stdout and EVIL_FOLDER not in done.stdout


@pytest.mark.parametrize(
    "folder", ["2024_11", "true", "1e5", "things", "my photos ü", "/some/where", "../a b", EVIL_FOLDER]
)
def test_photos_stay_text_whatever_the_folder_is_called(tmp_path, folder):
    """Snakemake's own parser reads what the Makefile passes to it."""
    from snakemake.cli import parse_config

    stand_in, got = tmp_path / "bin/snakemake", tmp_path / "got"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\nfor last; do :; done\nprintf %s "$last" > "{got}"\nexit 1\n')
    stand_in.chmod(0o755)
    names = [f"PHOTOS={folder.replace('$', '$$')}", f"VENV={tmp_path}", "--old-file=setup"]
    subprocess.run(["make", "photos", *names], cwd=ROOT, capture_output=True, check=False)
    value = parse_config([got.read_text()])["photos_dir"]
    assert isinstance(value, str) and value.removeprefix("./") == folder


def poisoned(config: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`config` with hostile text in every string that accepts any text, and the names of these strings."""
    changed = []
    for path in list(strings(config)):
        for text in (EVIL, EVIL_FOLDER):
            tried = copy.deepcopy(config)
            inner: Any = tried
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = text
            try:
                complete(tried)
            except UserError:
                continue
            config = tried
            changed.append(".".join(map(str, path)))
            break
    return config, changed


def strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if isinstance(inner, str):
            yield (*path, key)
        else:
            yield from strings(inner, (*path, key))
