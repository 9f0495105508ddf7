"""The profile with the plugin's defaults on a cluster with accounting, and what may happen to jobs (make test-slurm).

A workflow of three small jobs and a local one that joins them stands in for the real one, whose rehearsal runs through
the same profile (test_rehearsal.py): what is tested here is profile, plugin, sbatch's wrapper and SLURM.
"""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from end_to_end import ROOT
from slurm_accounting import ACCOUNT, LIMITED_QOS, OTHER_ACCOUNT
from slurm_cluster import DEFAULTS, NODES

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]

# Limit for a run; undisturbed it takes some 20. While no job ends, the plugin asks for states less and less often, down
# to every three minutes: after an outage, a run takes about as long again, and longer on a loaded machine.
SECONDS = 800
WORKFLOW = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "src")!r})
from nearid.doctor.slurm_checks import find_first

onstart:
    find_first(Path({str(ROOT / "slurm/bin")!r}))

rule all:
    input: "joined.txt"
    localrule: True

rule part:
    output: "parts/{{n}}.txt"
    log: "logs/{{n}}.log"
    resources: mem_mb=1000, runtime=5
    shell: "echo {{wildcards.n}} | sha256sum >{{output}} 2>{{log}}"

rule join:
    input: expand("parts/{{n}}.txt", n=range(config.get("parts", 3)))
    output: "joined.txt"
    localrule: True
    shell: "cat {{input}} >{{output}}"
"""


class Run:
    """A run of the small workflow on the cluster."""

    def __init__(self, folder, cluster, *arguments):
        self.folder = folder
        program = [sys.executable, "-m", "snakemake", *DEFAULTS, *arguments]
        environment = {**os.environ, **cluster.variables, "XDG_CACHE_HOME": str(folder / "cache")}
        with (folder / "said.txt").open("w") as said:
            self.process = subprocess.Popen(
                program, cwd=folder, env=environment, start_new_session=True, stdout=said, stderr=said
            )

    def said(self):
        return (self.folder / "said.txt").read_text()

    def log(self):
        """Snakemake's own log of the latest run."""
        return max((self.folder / ".snakemake/log").glob("*.log")).read_text()

    def end(self):
        """Wait for a successful end; returns the result."""
        assert self.process.wait(SECONDS) == 0, self.said() + self.log()[-5000:]
        return (self.folder / "joined.txt").read_text()

    def submissions(self):
        """Number of submitted jobs."""
        return self.log().count("has been submitted with SLURM jobid")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    shutil.copytree(ROOT / "slurm", tmp_path / "slurm")
    return tmp_path


@pytest.fixture
def expected(tmp_path_factory):
    """The result of a run without a cluster, by the number of parts."""

    def run(parts=3):
        local = tmp_path_factory.mktemp("local")
        (local / "Snakefile").write_text(WORKFLOW)
        program = [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "all", "--config", f"parts={parts}"]
        subprocess.run(program, cwd=local, check=True, capture_output=True, timeout=SECONDS)
        return (local / "joined.txt").read_text()

    return run


@pytest.fixture
def start(accounting, folder):
    """Start a run; after the test its processes and jobs are ended."""
    runs = []

    def begin(*arguments):
        runs.append(Run(folder, accounting, *arguments))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
    accounting.clear()


@pytest.fixture
def drained(accounting):
    """No job starts until the function that this yields is called."""

    def set_state(state):
        accounting.run("scontrol", "update", f"nodename={','.join(NODES)}", f"state={state}", "reason=test")

    set_state("drain")
    yield lambda: set_state("resume")
    if any(state.startswith("drain") for state in accounting.node_states().values()):
        set_state("resume")
    accounting.wait("idle nodes", lambda: set(accounting.node_states().values()) == {"idle"})


def records(cluster, run, field):
    """A field of each job of a run, from the accounting."""
    name = next(line for line in run.log().splitlines() if "SLURM run ID: " in line).split("SLURM run ID: ")[1]
    command = ("sacct", "--allocations", "--noheader", "--parsable2", f"--name={name}", f"--format={field}")
    return cluster.run(*command).stdout.split()


def waiting(cluster):
    """Waiting jobs, with SLURM's reason."""
    lines = cluster.run("squeue", "--noheader", "--states=PENDING", "--format=%i %r").stdout.splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


def test_the_plugins_defaults_take_states_and_account_from_accounting(accounting, start, expected, folder):
    run = start("--slurm-efficiency-report")
    assert run.end() == expected()
    assert set(records(accounting, run, "account")) == {ACCOUNT}
    assert set(records(accounting, run, "state")) == {"COMPLETED"}
    (report,) = folder.glob("efficiency_report_*.csv")
    assert "rule_part_wildcards_1" in report.read_text()
    assert "account" not in run.said(), "a default account is nothing to warn of"


def test_an_account_and_a_qos_that_are_named_are_used(accounting, start, expected):
    run = start("--default-resources", f"slurm_account={OTHER_ACCOUNT}", "slurm_partition=cpu", "tasks_per_gpu=0")
    assert run.end() == expected()
    assert set(records(accounting, run, "account")) == {OTHER_ACCOUNT}


def test_a_limit_of_submissions_is_waited_for(accounting, start, expected):
    """MaxJobs and MaxSubmitJobs of a QOS: a refused job is submitted again, and no attempt is used up."""
    run = start("--slurm-qos", LIMITED_QOS, "--jobs", "20", "--config", "parts=7")
    assert run.end() == expected(7)
    assert run.submissions() == 7 and "Trying to restart" not in run.log()
    assert set(records(accounting, run, "qos")) == {LIMITED_QOS}


@pytest.mark.waits
def test_a_controller_that_forgets_at_once(accounting, start, expected):
    """The plugin asks accounting, which does not forget, about a finished job, even if squeue was chosen."""
    accounting.configure("MinJobAge=300", "MinJobAge=2")
    try:
        assert start("--slurm-status-command", "squeue").end() == expected()
    finally:
        accounting.configure("MinJobAge=2", "MinJobAge=300")


@pytest.mark.waits
@pytest.mark.parametrize("trouble", ["late", "down"])
def test_sacct_that_is_late_or_down_is_waited_for(accounting, start, expected, folder, trouble):
    """Jobs have ended, but sacct does not list them yet, or does not answer."""
    away, asked = folder / "away", folder / "asked"
    real = shutil.which("sacct")
    code = {"late": 0, "down": 1}[trouble]
    accounting.plant("sacct", f'#!/bin/sh\n[ -e {away} ] && touch {asked} && exit {code}\nexec {real} "$@"\n')
    try:
        away.touch()
        run = start()
        accounting.wait("the parts", lambda: len(list(folder.glob("parts/*.txt"))) == 3, SECONDS)
        accounting.wait_for_jobs(SECONDS)
        asked.unlink(missing_ok=True)
        accounting.wait("a question after the jobs' end", asked.exists, SECONDS)
        away.unlink()
        assert run.end() == expected()
    finally:
        (accounting.programs / "sacct").unlink()
    assert run.submissions() == 3


@pytest.mark.waits
def test_accounting_that_dies_and_comes_back(accounting, start, drained, expected):
    run = start()
    accounting.wait("jobs that wait", lambda: len(waiting(accounting)) == 3, SECONDS)
    accounting.kill("accounting")
    drained()
    accounting.wait("the parts", lambda: len(list(run.folder.glob("parts/*.txt"))) == 3, SECONDS)
    accounting.start_accounting()
    assert run.end() == expected()
    assert run.submissions() == 3


@pytest.mark.waits
def test_a_named_account_is_asked_for_until_accounting_answers(accounting, start, expected, folder):
    """The plugin calls `sacctmgr` before each submission; without retries, all attempts would fail at once."""
    asked, real = folder / "asked", shutil.which("sacctmgr")
    accounting.plant("sacctmgr", f'#!/bin/sh\n{real} "$@" || {{ touch {asked}; exit 1; }}\n')
    accounting.kill("accounting")
    try:
        run = start("--default-resources", f"slurm_account={OTHER_ACCOUNT}", "tasks_per_gpu=0")
        accounting.wait("a question without an answer", asked.exists, SECONDS)
        accounting.start_accounting()
        assert run.end() == expected()
    finally:
        (accounting.programs / "sacctmgr").unlink()
    assert run.submissions() == 3 and "Trying to restart" not in run.log()


def test_a_job_that_is_cancelled_is_started_again(accounting, start, drained, expected):
    """Its state names who did it, `CANCELLED by 0`, which the plugin would take for a job that still runs."""
    run = start()
    accounting.wait("jobs that wait", lambda: len(waiting(accounting)) == 3, SECONDS)
    accounting.run("scancel", min(waiting(accounting)))
    drained()
    assert run.end() == expected()
    assert run.submissions() == 4 and run.log().count("Trying to restart") == 1


@pytest.mark.waits
def test_a_held_job_is_waited_for(accounting, start, drained, expected):
    run = start()
    accounting.wait("jobs that wait", lambda: len(waiting(accounting)) == 3, SECONDS)
    held = min(waiting(accounting))
    accounting.run("scontrol", "hold", held)
    drained()
    accounting.wait("the others' end", lambda: len(list(run.folder.glob("parts/*.txt"))) == 2, SECONDS)
    assert waiting(accounting).get(held, "").startswith("JobHeld")
    accounting.run("scontrol", "release", held)
    assert run.end() == expected()
    assert run.submissions() == 3


@pytest.mark.waits
def test_an_account_that_expires_is_told_and_another_one_goes_on(accounting, start, expected, folder):
    accounting.account("add", "account", "brief", "cluster=nearid_test")
    accounting.account("add", "user", "root", "account=brief", "cluster=nearid_test")
    named = ("--default-resources", "slurm_account=brief", "tasks_per_gpu=0")
    parts = start(*named, "--", *(f"parts/{number}.txt" for number in range(3)))
    assert parts.process.wait(SECONDS) == 0, parts.said()
    accounting.account("remove", "user", "root", "where", "account=brief")
    more = ("--config", "parts=4")
    rest = start(*named, *more)
    assert rest.process.wait(SECONDS) != 0
    assert "brief" in rest.said() and ACCOUNT in rest.said(), "what is wrong, and what there is"
    going_on = start(*more)
    assert going_on.end() == expected(4)
    assert len(records(accounting, going_on, "jobid")) == 1


def test_a_gpu_partition_that_is_full_is_waited_for(accounting, start, expected, folder):
    others = accounting.submit("--partition=gpu", "--gpus=4", "--time=10", "--wrap=sleep 600")
    accounting.wait("the others' job", lambda: others in accounting.running(), SECONDS)
    gpus = ("part:slurm_partition=gpu", "part:gpu=1", "part:gpu_model=a100")
    run = start("--set-resources", *gpus)
    accounting.wait("jobs that wait", lambda: len(waiting(accounting)) == 3, SECONDS)
    accounting.run("scancel", others)
    assert run.end() == expected()
    shared = records(accounting, run, "alloctres%60")
    assert sum("gres/gpu=1" in one for one in shared) == 3


@pytest.mark.parametrize("partition", ["lean", "whole"])
def test_partitions_that_count_memory_by_cpu_or_give_whole_nodes(accounting, start, expected, partition):
    memory = ("--set-resources", "part:mem_mb=4000")
    run = start("--default-resources", f"slurm_partition={partition}", "tasks_per_gpu=0", *memory)
    assert run.end() == expected()
    cpus = {int(number) for number in records(accounting, run, "alloccpus")}
    assert cpus == {"lean": {4}, "whole": {32}}[partition]


MISSED = "Waiting at most 60 seconds for missing files"


@pytest.mark.waits
def test_a_file_system_that_shows_files_late(accounting, start, expected, folder):
    """The file of a job does not appear when the job ends, but only after Snakemake has missed it."""
    late = folder / "late.txt"
    # Once, after the job's script and not after the step in it.
    hide = f'[ "$SLURM_STEP_ID" = 0 ] || [ -e {late} ] || mv {folder}/parts/0.txt {late}'
    accounting.plant("task_epilog", f"#!/bin/sh\n{hide}\n")
    try:
        run = start("--latency-wait", "60", "--config", "parts=1")
        accounting.wait("a file that is not shown", late.exists, SECONDS)
        accounting.wait("a look for it", lambda: MISSED in run.log(), SECONDS)
        shutil.copy2(late, folder / "shown.txt")
        (folder / "shown.txt").rename(folder / "parts/0.txt")
        assert run.end() == expected(1)
    finally:
        accounting.plant("task_epilog", "#!/bin/sh\n")
    assert run.submissions() == 1


def test_an_array_is_one_submission(accounting, start, expected):
    arrays = ("--slurm-array-jobs", "part", "--slurm-array-limit", "4", "--slurm-status-command", "squeue")
    run = start(*arrays, "--jobs", "100", "--max-jobs-per-timespan", "100/5s", "--config", "parts=6")
    assert run.end() == expected(6)
    assert run.log().count("Submitted array job") == 2 and run.submissions() == 0
    # Why states must come from squeue: the plugin asks sacct for raw ids, but looks for ids like `7_1`.
    assert not any("_" in number for number in records(accounting, run, "jobidraw"))
