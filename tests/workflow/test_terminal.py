"""What a run says on the terminal: events recorded from Snakemake, and a small real run."""

import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nearid.io import progress
from snakemake_logger_plugin_nearid import LogHandler
from snakemake_logger_plugin_nearid.account import Account
from snakemake_logger_plugin_nearid.chatter import Chatter
from snakemake_logger_plugin_nearid.logs import read_problem

GOLDEN = Path(__file__).parent / "golden"
WORKFLOW = {
    "Snakefile": """
rule all:
    input: expand("results/r/heads/{a}.txt", a=config["heads"])
    localrule: True
include: "workflow/rules/data.smk"
include: "workflow/rules/heads.smk"
onstart:
    if config.get("refuse"):
        raise WorkflowError("\\nwhere: a\\nfound: b")
""",
    "workflow/rules/data.smk": """
rule draw:
    output: "results/r/data/{n}.txt"
    log: "results/r/logs/data/draw/{n}.log"
    shell: "echo 'WARNING nearid.data: few colours' >{log}; touch {output}"
""",
    "workflow/rules/heads.smk": r"""
rule train:
    input: expand("results/r/data/{n}.txt", n=range(3))
    output: "results/r/heads/{a}.txt"
    log: "results/r/logs/heads/train/{a}.log"
    shell:
        "printf 'train: 1/2\\nwhere:    x.txt\\nfound:    nothing\\n' >{log};"
        " printf 'expected: a number\\nnext:     write one\\n' >>{log};"
        " test {wildcards.a} = one && touch {output}"
""",
}
FAILURE = [
    "failed: train a=two",
    "error:  x.txt: nothing; expected a number",
    "log:    results/r/logs/heads/train/two.log",
    "next:   write one",
]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with a small workflow; the test runs in it."""
    for name, text in WORKFLOW.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    return tmp_path


def write_logs(folder):
    """Write the logs of the recorded run."""
    texts = {f"data/draw/{number}": "WARNING nearid.data: few colours\n" for number in range(3)}
    texts["heads/train/two"] = "where:    x.txt\nfound:    nothing\nexpected: a number\nnext:     write one\n"
    for name, text in texts.items():
        path = folder / f"results/r/logs/{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def tell(folder, events, live=False, seconds=10.0):
    """Output of an account for recorded events, one each `seconds`."""
    times = iter(range(10**6))
    stream = io.StringIO()
    account = Account(stream, live, lambda: "full.log", lambda: seconds * next(times))
    for line in (GOLDEN / events).read_text().replace("PROJECT", str(folder)).splitlines():
        account.hear(logging.makeLogRecord(json.loads(line) | {"levelno": logging.getLevelName("INFO")}))
    account.end()
    account.end()
    return stream.getvalue()


def test_recorded_events_of_a_failing_run(small):
    write_logs(small)
    lines = tell(small, "events_of_a_failing_run.jsonl", seconds=0).splitlines()
    closing = "1 failed, 3 of 5 jobs are done, after 0:00. The same command resumes. The full log: full.log"
    assert lines == [
        "config.yaml: 5 jobs, one core; the full log: full.log",
        "warning: few colours",
        "data             3 of 3 jobs      0:00",
        *FAILURE,
        "heads            0 of 2 jobs      0:00",
        closing,
    ]


def test_a_long_stage_tells_how_far_it_is_and_how_long_it_takes(small):
    said = tell(small, "events_of_a_failing_run.jsonl", seconds=100)
    assert re.search(r"^data +1 of 3 jobs +\d+:\d\d, about \d+:\d\d left$", said, re.MULTILINE)
    assert "\x1b" not in said


def test_in_a_terminal_lines_are_drawn_in_their_place_and_nothing_is_lost(small):
    write_logs(small)
    said = tell(small, "events_of_a_failing_run.jsonl", live=True, seconds=0)
    screen = []
    for part in re.split(r"(\x1b\[\d+F\x1b\[J)", said):
        if found := re.match(r"\x1b\[(\d+)F", part):
            del screen[-int(found[1]) :]
        else:
            screen += part.splitlines()
    assert screen == tell(small, "events_of_a_failing_run.jsonl", seconds=0).splitlines()


def test_of_a_group_only_the_job_that_failed_is_told(small):
    write_logs(small)
    log = {name: [f"results/r/logs/heads/train/{name}.log"] for name in ("one", "two")}
    jobs = [{"jobid": number, "rule_name": "train", "log": log[name]} for number, name in enumerate(log)]
    stream = io.StringIO()
    account = Account(stream, False, lambda: "full.log", lambda: 0.0)

    def hear(event, msg="", **fields):
        account.hear(logging.makeLogRecord({"event": event, "msg": msg, "levelno": logging.INFO, **fields}))

    hear("workflow_started", configfiles=[], snakefile_main=str(small / "Snakefile"))
    hear("run_info", stats={"train": 2})
    for job, name in zip(jobs, log, strict=True):
        hear("job_info", **job, wildcards={"a": name})
    hear("group_error", groupid="train", aux_logs=["slurm.log"], job_error_info=jobs)
    for job in jobs:
        hear("job_error", **job, rule_msg=None, indent=True)
    hear(None, "Trying to restart job 1f0e-77.")
    account.end()
    lines = stream.getvalue().splitlines()
    assert lines[1:6] == [*FAILURE, "again:  all jobs of its group"] and lines[-1].startswith("1 failed, 0 of 2")


def test_a_group_that_was_killed_is_told_by_the_cluster_s_log(small):
    (small / "slurm.log").write_text("slurmstepd: error: *** JOB 7 CANCELLED DUE TO TIME LIMIT ***\n")
    job = {"jobid": 3, "rule_name": "train", "log": ["results/r/logs/heads/train/one.log"]}
    stream = io.StringIO()
    account = Account(stream, False, lambda: "full.log", lambda: 0.0)
    for event, fields in {
        "workflow_started": {"configfiles": [], "snakefile_main": str(small / "Snakefile")},
        "job_info": {**job, "wildcards": {"a": "one"}},
        "group_error": {"groupid": "train", "aux_logs": ["slurm.log"], "job_error_info": [job]},
        "job_error": {**job, "rule_msg": None, "indent": True},
    }.items():
        account.hear(logging.makeLogRecord({"event": event, "msg": "", "levelno": logging.INFO, **fields}))
    assert "log:    slurm.log" in stream.getvalue()


def test_what_is_refused_before_the_first_job_has_no_stages(small):
    assert tell(small, "events_of_a_refused_run.jsonl") == "where: a\nfound: b\n"


@pytest.mark.parametrize(
    ("log", "error", "action"),
    [
        ("Traceback (most recent call last):\n  ...\nValueError: odd\n", "ValueError: odd", "read the log"),
        ("train: 1/2\n", "SLURM status is: OUT_OF_MEMORY", "read the log"),
        (
            "where: a\nfound: b\n  and more\nexpected: c\nnext: d\nwhere: e\nfound: f\nexpected: g\nnext: h\n",
            "e: f; expected g",
            "h",
        ),
        ("train: 1/2\ninterrupted\n", "interrupted", "the same command"),
    ],
    ids=["a crash", "no word", "two problems", "Ctrl-C"],
)
def test_the_error_is_that_of_the_job_s_log(tmp_path, log, error, action):
    path = tmp_path / "job.log"
    path.write_text(log)
    problem = read_problem([str(tmp_path / "gone.log"), str(path)], "SLURM status is:\n  OUT_OF_MEMORY")
    assert (problem.error, problem.log) == (error, str(path))
    assert problem.next.startswith(action)


def run(folder, *arguments):
    program = [sys.executable, "-m", "snakemake", "--cores", "1", "--logger", "nearid", *arguments]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_real_run_fails_goes_on_and_has_nothing_to_do(small):
    code, said = run(small, "--keep-going", "--config", "heads=[one,two]")
    lines = said.splitlines()
    assert code == 1 and "Traceback" not in said
    assert re.fullmatch(r"config\.yaml: 5 jobs, one core; the full log: (\.snakemake/log/\S+\.log)", lines[0])
    assert (small / lines[0].split()[-1]).read_text().count("Finished jobid") == 4
    assert lines.count("warning: few colours") == 1
    place = lines.index(FAILURE[0])
    assert lines[place : place + 4] == FAILURE
    assert re.match(r"data +3 of 3 jobs ", lines[2]) and lines[-1].startswith("1 failed, 4 of 5 jobs are done")
    assert len(lines) == 9, said
    (small / "mine.yaml").write_text("heads: [one]\n")
    code, said = run(small, "--configfile", "mine.yaml")
    assert (code, said) == (0, "mine.yaml: nothing to do, everything is there and up to date\n")
    # A plan is printed by Snakemake itself.
    code, said = run(small, "-n", "--config", "heads=[one,three]")
    assert code == 0 and "rule train:" in said


def test_steps_know_the_terminal_by_the_name_that_the_run_gives_it(monkeypatch):
    monkeypatch.delenv(progress.LISTENER, raising=False)
    asked = dict.fromkeys(("dryrun", "verbose", "printshellcmds", "debug_dag", "quiet", "stdout"), False)
    LogHandler(SimpleNamespace(**asked), None).close()
    given = os.environ.pop(progress.LISTENER)
    assert given == progress.name_of_stream(2)


def test_lines_that_say_nothing_are_in_no_log(small):
    # With at most one job per second, like the limit in a cluster's profile.
    code, _ = run(small, "--config", "heads=[one]", "--max-jobs-per-timespan", "1/1s")
    (log,) = (small / ".snakemake/log").glob("*.log")
    assert code == 0 and log.read_text().count("Job rate limit reached") == 1
    chatter = Chatter()
    said = [
        "No SLURM account given, trying to guess.",
        "Unable to guess SLURM account. Trying to proceed without.",
        "Guessed SLURM account: lab",
    ]
    kept = [text for text in said if chatter.filter(logging.makeLogRecord({"msg": text}))]
    assert kept == ["Guessed SLURM account: lab"]


def test_the_logger_leaves_it_to_the_workflow_which_nearid_is_meant():
    program = (
        "import sys, snakemake_logger_plugin_nearid; print([name for name in sys.modules if name.startswith('nearid')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


STEP = """
import os, sys
from pathlib import Path
from nearid.io.progress import logging_to
with logging_to(Path("step.log")):
    print("train: 1/2", file=sys.stderr)
    os.system("echo a library >&2")
print("after", file=sys.stderr)
"""


@pytest.mark.parametrize("listened", [True, False])
def test_a_step_leaves_the_terminal_to_the_run_that_listens_on_it(tmp_path, listened):
    with (tmp_path / "terminal").open("w") as terminal:
        other = {progress.LISTENER: progress.name_of_stream(terminal.fileno()) if listened else "1:2"}
        subprocess.run(
            [sys.executable, "-c", STEP], cwd=tmp_path, env={**os.environ, **other}, stderr=terminal, check=True
        )
    said, log = ((tmp_path / name).read_text().splitlines() for name in ("terminal", "step.log"))
    assert log[0] == "train: 1/2"
    assert said == (["after"] if listened else ["train: 1/2", "a library", "after"])
    assert ("a library" in log) == listened
