"""The workflow from its users' view: planning, mistakes, plug-ins that do not exist yet."""

import logging
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Without pandas and pyarrow, which Snakemake imports itself.
HEAVY = ("torch", "transformers", "vtkmodules", "matplotlib", "deepspeed", "cv2", "sklearn", "h5py")


def test_full_reproduction_is_planned_without_heavy_imports():
    program = (
        "import sys\nfrom snakemake.cli import main\n"
        "sys.argv = ['snakemake', '--profile', 'slurm', '--dry-run', '--quiet', 'rules', '--nolock']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert "heavy: []" in output, output
    assert "Warning" not in output, output
    jobs = dict(line.split() for line in output.splitlines() if len(line.split()) == 2 and line.split()[1].isdigit())
    assert jobs["inpaint_shard"] == str(9 * 16)
    assert 350 < int(jobs["inpaint_part"]) < 400, "an hour and a half each, of what the sources take"
    assert int(jobs["train_head"]) + int(jobs["train_head_with_timelapse"]) == 19
    assert jobs["make_table"] == "11"


def test_a_typo_fails_while_planning(project):
    done = project.snakemake("--dry-run", "--configfile", "config/demo.yaml", project.overlay("selct: {tables: []}"))
    output = done.stdout + done.stderr
    assert done.returncode != 0
    for part in ("where:    config, key selct", "found:", "did you mean `select`?", "next:"):
        assert part in output
    assert "Traceback" not in output


def test_a_key_that_stands_twice_fails_while_planning(project):
    done = project.snakemake("--dry-run", "--configfile", "config/demo.yaml", project.overlay("seed: 1\nseed: 2\n"))
    assert done.returncode != 0 and "'seed' twice in one mapping" in done.stdout + done.stderr


def test_what_is_not_written_yet_fails_before_the_first_job(project):
    overlay = project.overlay(
        "name: later\nscorers: {judge: {display: J, kind: crystal_ball}}\n"
        "select: {scorers: [colour_histogram, judge_stand_in, siglip2_mean, siglip2, infonce, nearid, judge]}"
    )
    done = project.snakemake("--configfile", *project.configs((overlay,)))
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "nearid.scores.scorers.crystal_ball (for scorers.judge)" in output
    assert not (project.root / "results/later/data").exists()
    assert "scorer=judge" in project.plan(overlay)["score_mtg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere: Snakemake takes nothing for protected")
def test_protected_results_are_not_overwritten(project):
    overlay = project.overlay("protect: true\nname: kept")
    project.run(overlay)
    head = project.root / "results/kept/heads/nearid/head.safetensors"
    before = head.read_bytes()
    assert not head.stat().st_mode & 0o222
    changed = project.overlay("protect: true\nname: kept\nablations: {nearid: {params: {alpha: 0.9}}}")
    done = project.snakemake("--configfile", *project.configs((changed,)))
    assert "ProtectedOutputException" in done.stdout + done.stderr
    assert head.read_bytes() == before


def test_the_root_file_and_the_inner_one_make_the_same(project):
    configs = ["--configfile", *project.configs(())]
    assert "Nothing to be done" in (done := project.snakemake(*configs)).stdout + done.stderr
    done = project.snakemake("--snakefile", "workflow/Snakefile", *configs)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_exports_are_asked_for_by_name(project):
    done = project.snakemake("--dry-run", "--configfile", *project.configs(()), "--", "exports")
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE)
    assert dict(jobs) == {"export_model": "4", "export_datasets": "1", "exports": "1", "total": "6"}
    assert "export" not in " ".join(project.plan())


def test_snakemake_s_own_report_has_captions_and_labels(project):
    done = project.snakemake("--report", "report.zip", "--configfile", *project.configs(()))
    assert done.returncode == 0, done.stdout + done.stderr
    with ZipFile(project.root / "report.zip") as archive:
        page = next(name for name in archive.namelist() if name.endswith("report.html"))
        text = archive.read(page).decode()
    for caption in (
        "Table 3 of run test",
        "Figure 6 of run test",
        "Run <em>test</em>",
        "Every cell that the paper prints",
    ):
        assert caption in text
    assert re.search(r'"figure": "figure5"[^{}]*"form": "animation"|"form": "animation"[^{}]*"figure": "figure5"', text)


def run_cli(*arguments, cwd=ROOT):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    program = [sys.executable, "-m", "nearid", *map(str, arguments)]
    return subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_a_mistake_on_the_command_line_is_four_lines_in_the_log_too(tmp_path):
    log = tmp_path / "log.txt"
    done = run_cli("--log", log, "config", "check", "config/nowhere.yaml")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == ["where", "found", "expected", "next"]
    assert log.read_text() == done.stderr


@pytest.mark.parametrize("listened", [False, True])
def test_a_message_does_not_need_the_full_disk_that_it_tells_of(tmp_path, listened):
    """No file can be written, not even the log; if a listener reads the log, the message goes to the terminal."""
    from nearid.io.progress import LISTENER, name_of_stream

    program = [sys.executable, "-m", "nearid", "--log", tmp_path / "log.txt", "config", "check", "config/nowhere.yaml"]
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # noqa: E731
    reader, writer = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), LISTENER: name_of_stream(writer) if listened else ""}
    with subprocess.Popen(program, cwd=ROOT, env=environment, stderr=writer, preexec_fn=full) as child:
        os.close(writer)
        with os.fdopen(reader) as stream:
            said = stream.read()
    assert child.returncode == 2
    assert [line.split(":")[0] for line in said.strip().splitlines()] == ["where", "found", "expected", "next"]
    assert (tmp_path / "log.txt").read_text() == ""


def test_a_full_disk_and_a_read_only_folder_are_told(tmp_path):
    program = (
        "import errno, sys, nearid.cli, nearid.cli.config as group\n"
        "def check(overlays): raise OSError(errno.{code}, 'x', 'results/demo/file')\n"
        "group.config.commands['check'].callback = check\n"
        "sys.argv = ['nearid', 'config', 'check']\nnearid.cli.main()"
    )
    for code, says in (("ENOSPC", "no space left"), ("EROFS", "read-only"), ("EACCES", "no permission")):
        done = subprocess.run(
            [sys.executable, "-c", program.format(code=code)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert says in done.stderr
        assert "where:    results/demo/file" in done.stderr
        assert "Traceback" not in done.stderr


def test_fetching_without_a_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = run_cli("fetch", "download", "--download", "mtg", "--resources", tmp_path)
    assert done.returncode == 2
    assert "cannot be read" in done.stderr and "fill the folder" in done.stderr and "Traceback" not in done.stderr


def test_progress_goes_to_the_log_in_plain_lines(tmp_path, monkeypatch, capsys):
    from nearid.io.progress import log_to_stderr, logging_to, track

    monkeypatch.setattr(logging.getLogger("nearid"), "handlers", [])
    log_to_stderr()
    with logging_to(tmp_path / "log.txt"):
        assert list(track(range(3), "work", total=5, done=2, interval_s=0.0)) == [0, 1, 2]
        logging.getLogger("nearid.data").warning("few %s", "colours")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines[0] == "work: 2/5 done by an earlier try"
    assert lines[-2].startswith("work: 5/5 ")
    assert lines[-1] == "WARNING nearid.data: few colours"
    assert capsys.readouterr().err.splitlines() == lines
