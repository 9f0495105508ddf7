"""An unexpected error gives four lines and a file with its trace; an interruption one line; files follow the umask."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nearid.config import check_paths, load
from nearid.distributed.ranks import VARIABLES, read_ranks
from nearid.doctor.checks import check_port, check_ranks
from nearid.errors import UserError
from nearid.io.files import replacing
from nearid.io.progress import LISTENER, name_of_stream

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, nearid.cli, nearid.cli.config as group
def check(overlays):
    {body}
group.config.commands['check'].callback = check
nearid.cli.main()
"""


def run(body, *arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **variables}
    program = [sys.executable, "-c", PROGRAM.format(body=body), *map(str, arguments), "config", "check"]
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("[][0]", "IndexError: list index out of range"),
        ("raise RuntimeError('two\\nlines' + 'x' * 900)", "RuntimeError: two linesx"),
        ("raise OSError('no number')", "OSError: no number"),
        ("assert False", "AssertionError"),
        ("raise KeyError('a')", "KeyError: 'a'"),
    ],
)
def test_a_fault_of_the_program_is_four_lines_and_a_file(tmp_path, body, found):
    log = tmp_path / "log.txt"
    done = run(body.replace("\n", "\\n"), "--log", log)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and [line.split(":")[0] for line in lines] == ["where", "found", "expected", "next"]
    assert found in lines[1] and len(lines[1]) < 400 and "a fault of this program" in lines[2]
    assert str(tmp_path / "log.trace.txt") in lines[3]
    trace = (tmp_path / "log.trace.txt").read_text()
    assert "Traceback" in trace and "config check" in trace
    assert log.read_text() == done.stderr


def test_without_a_log_the_trace_is_among_the_temporary_files(tmp_path):
    done = run("1 / 0", TMPDIR=str(tmp_path))
    assert len(done.stderr.splitlines()) == 4 and "ZeroDivisionError" in next(tmp_path.iterdir()).read_text()


def test_a_trace_follows_no_link_that_others_put_there(tmp_path):
    """Anybody may write in /tmp, so the name of a trace must not be predictable."""
    kept = tmp_path / "kept"
    kept.write_text("mine")
    body = f"import os; os.symlink({str(kept)!r}, {str(tmp_path)!r} + f'/nearid-trace-{{os.getpid()}}.txt'); 1 / 0"
    run(body, TMPDIR=str(tmp_path))
    assert kept.read_text() == "mine" and len(list(tmp_path.iterdir())) == 3


def test_where_no_trace_can_be_written_it_is_printed(tmp_path):
    log = tmp_path / "log.txt"
    (tmp_path / "log.trace.txt").mkdir()
    done = run("1 / 0", "--log", log)
    assert "Traceback" in done.stderr and "send the lines above" in done.stderr.splitlines()[-1]


def test_ctrl_c_is_told_by_the_run_and_not_by_each_of_its_steps(tmp_path):
    end = "import os; os.kill(os.getpid(), 15)"
    assert "ended by SIGTERM" in run(end).stderr
    with (tmp_path / "terminal").open("w") as terminal:
        # As Snakemake's logger does it.
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), LISTENER: name_of_stream(terminal.fileno())}
        program = [sys.executable, "-c", PROGRAM.format(body=end), "--log", tmp_path / "log", "config", "check"]
        done = subprocess.run(program, env=environment, stderr=terminal, check=False)
    assert done.returncode == 128 + 15 and (tmp_path / "terminal").read_text() == ""
    assert (tmp_path / "log").read_text() == "interrupted\n"


EVIL = "a\x1b]0;title\x07\x9b2J\u202eb"


@pytest.mark.parametrize("body", [f"print({EVIL!r}, file=sys.stderr)", f"raise ValueError({EVIL!r})"])
def test_text_of_others_is_told_harmless(tmp_path, body):
    done = run(body, "--log", tmp_path / "log")
    assert "a\\x1b]0;title\\x07\\x9b2J\\u202eb" in done.stderr
    assert (tmp_path / "log").read_text() == done.stderr
    assert all(sign.isprintable() or sign == "\n" for sign in done.stderr)


def test_text_of_others_forges_no_part_of_an_error():
    error = UserError("a\nnext: run this", "b\x1b[2J", "c", "d")
    assert str(error) == "where:    a\n          next: run this\nfound:    b\\x1b[2J\nexpected: c\nnext:     d"


def test_an_interruption_is_a_line():
    done = run("raise KeyboardInterrupt")
    assert done.returncode == 130 and done.stderr.startswith("interrupted") and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "write", [lambda path: path.write_text("x"), lambda path: save_file({"a": torch.ones(1)}, path)]
)
def test_files_have_the_modes_that_the_umask_leaves(tmp_path, write):
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "file") as private:
        write(private)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    "values",
    [
        {"MASTER_PORT": "abc"},
        {"MASTER_PORT": "0"},
        {"MASTER_PORT": "70000"},
        {"RANK": "one"},
        {"WORLD_SIZE": "-1"},
        {"LOCAL_RANK": ""},
    ],
)
def test_odd_variables_of_a_launcher_are_told(monkeypatch, values):
    whole = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in (whole | values).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="launcher"):
        read_ranks()


def test_empty_variables_of_a_launcher_are_none(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    assert read_ranks().size == 1
    empty = dict.fromkeys(VARIABLES, "")
    assert [finding.level for check in (check_ranks, check_port) for finding in check(empty)] == ["fine", "fine"]
    assert [finding.level for finding in check_port({"MASTER_PORT": "abc"})] == ["fault"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("photos_dir: 202411", "./2024_11"),
        ("photos_dir: nowhere", "dataset.image_folder.path"),
        ("name: mine", "dataset.image_folder.path"),
        ("photos_dir: .\nreleased: {cut_paste: lost/here/now}", "released.path"),
        ("photos_dir: .\nbackbones: {demo_siglip: {path: /lost}}", "backbones.demo_siglip.path"),
    ],
)
def test_a_folder_that_is_not_there_is_found_before_a_run(tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(ROOT)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        check_paths(load("config/demo.yaml", "config/photos.yaml", tmp_path / "mine.yaml"))
