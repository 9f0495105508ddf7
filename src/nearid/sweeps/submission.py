"""Jobs of a sweep: submitting those that are left, and cancelling those that wait or run."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nearid.config.settings.heads import TrainHead
from nearid.errors import UserError
from nearid.io.paths import make_private
from nearid.io.programs import ask
from nearid.io.progress import log_to_stderr, logging_to
from nearid.layout import Layout
from nearid.sweeps.states import UNDER_WAY, add_jobs, read_jobs, read_queue, read_states
from nearid.sweeps.sweep import Sweep
from nearid.workflow.files import Files

# SLURM sends it before the time limit; training handles it between two steps (nearid.distributed.signals).
os.environ.setdefault("SUBMITIT_PREEMPT_SIGNAL", "URG")
# For local jobs, which inherit it; a cluster's jobs set it in their script.
os.environ["PYTHONSAFEPATH"] = "1"


@dataclass(frozen=True)
class JobRequest:
    """What each job requests. `extra`: any other options of sbatch."""

    executor: str = "slurm"
    partition: str = ""
    account: str = ""
    minutes: int = 720
    memory_gb: int = 16
    threads: int = 8
    gpus: int = 0
    ranks: int = 1
    parallel: int = 64
    warning_s: int = 120
    extra: Mapping[str, Any] | None = None


class TrainingJob:
    """Training of one head, which submitit calls again after preemptions and time limits."""

    def __init__(self, settings: TrainHead, results: Path, code: str, rule: str) -> None:
        self.settings, self.results, self.code, self.rule = settings, results, code, rule

    def __call__(self) -> None:
        """Train, or resume."""
        import torch

        from nearid.heads.training import train

        torch.set_num_threads(1)  # as the rule does, for the same bits
        layout = Layout(self.results)
        log_to_stderr()
        with logging_to(layout.log("heads", self.rule, self.settings.ablation)):
            train(self.settings, layout, self.code)

    def checkpoint(self) -> Any:
        """Submitit's hook for a requeue: the state is in the head's folder, so the same call resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(sweep: Sweep, needs: JobRequest) -> list[str]:
    """Submit the heads that are neither done nor under way, and return their ids; local jobs are waited for.

    Raises:
        UserError: data or tokens are missing, or the cluster refuses.
    """
    waiting = [name for name, state in read_states(sweep).items() if state not in ("done", *UNDER_WAY)]
    if not waiting:
        return []
    _check_inputs(sweep)
    calls = [
        TrainingJob(sweep.settings(name), sweep.layout.root, sweep.code(name), sweep.rule(name)) for name in waiting
    ]
    executor = _make_executor(sweep, needs)

    def record(names: Sequence[str], jobs: Sequence[Any]) -> None:
        own, told = needs.executor, asdict(needs)
        made = zip(names, jobs, strict=True)
        add_jobs(sweep, {name: {"job": job.job_id, "executor": own, "needs": told} for name, job in made})

    if needs.executor == "slurm":
        record(waiting, _submit_array(executor, calls))
        return waiting
    running: list[Any] = []
    left = list(zip(waiting, calls, strict=True))
    while left or running:
        while left and len(running) < needs.parallel:
            name, call = left.pop(0)
            running.append(executor.submit(call))
            record([name], running[-1:])
        time.sleep(0.5)
        running = [job for job in running if not job.done()]
    return waiting


def cancel(sweep: Sweep) -> list[str]:
    """Cancel the jobs that wait or run, and return their ablations; a later `submit` resumes from their saved states.

    Raises:
        UserError: SLURM refuses.
    """
    jobs = read_jobs(sweep)
    alive = [name for name, state in read_states(sweep).items() if state in UNDER_WAY]
    ids = [jobs[name]["job"] for name in alive if jobs[name]["executor"] == "slurm"]
    # Quiet about a job that ends meanwhile.
    if ids and ((answer := ask("scancel", "--quiet", *ids, timeout_s=60)) is None or answer[0]):
        said = answer[1] if answer else "no answer"
        raise UserError("scancel", said, "the jobs cancelled", f"try again: scancel {' '.join(ids)}")
    for name in alive:
        if jobs[name]["executor"] == "local":
            os.kill(int(jobs[name]["job"]), signal.SIGINT)
    # Wait until they release the locks of their heads, so that another job can take these up.
    limit = time.monotonic() + 60
    while alive and any(state in UNDER_WAY for state in read_queue(sweep).values()) and time.monotonic() < limit:
        time.sleep(0.5)
    return alive


def _check_inputs(sweep: Sweep) -> None:
    files = Files(sweep.config, sweep.layout)
    wanted = {path for name in sweep.ablations for path in files.of_head(name)}
    missing = sorted(path for path in wanted if not path.is_file())
    if missing:
        make = f"snakemake --configfile {shlex.join(map(str, sweep.overlays))}"
        raise UserError(
            missing[0],
            "not there",
            "data and tokens of this config",
            f"first make them: {make} … -- {shlex.join(map(str, missing[:3]))} …",
        )


def _make_executor(sweep: Sweep, needs: JobRequest) -> Any:
    import submitit

    folder = sweep.folder / "submitit"
    # A job runs the pickle in it.
    make_private(folder, "a sweep's jobs run what is in it")
    executor = submitit.AutoExecutor(folder, cluster=needs.executor, slurm_max_num_timeout=1000)
    common = {"timeout_min": needs.minutes, "tasks_per_node": needs.ranks, "gpus_per_node": needs.gpus}
    if needs.executor == "local":
        executor.update_parameters(**common)
        return executor
    named = {"partition": needs.partition, "account": needs.account}
    executor.update_parameters(
        **common,
        nodes=1,
        mem_gb=needs.memory_gb,
        cpus_per_task=needs.threads,
        name=sweep.job_name,
        slurm_signal_delay_s=needs.warning_s,
        slurm_array_parallelism=needs.parallel,
        slurm_setup=["export PYTHONSAFEPATH=1"],  # do not import a `yaml.py` from where the job starts
        slurm_additional_parameters={"requeue": True, **(needs.extra or {})},
        **{f"slurm_{key}": value for key, value in named.items() if value},
    )
    return executor


def _submit_array(executor: Any, calls: Sequence[TrainingJob]) -> list[Any]:
    try:
        with executor.batch():
            return [executor.submit(call) for call in calls]
    except (OSError, RuntimeError) as error:  # submitit raises one of these with the text of sbatch
        raise UserError(
            "sbatch",
            str(error).strip()[-300:],
            "jobs submitted",
            "check --partition, --account, --minutes and --sbatch qos=…; if you may submit few jobs, take fewer heads",
        ) from error
