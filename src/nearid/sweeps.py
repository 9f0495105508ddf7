"""Sweeps: many heads as submitit jobs, outside of Snakemake's graph; it then finds their results done.

A sweep is an overlay with its heads, and a list of their jobs, both in `results/<name>/sweeps/<sweep>/`. A head gets
the same settings, code and output folder that its rule would pass to the same training.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from nearid.config import load, results_folder, step_settings
from nearid.config.accepted import result_code
from nearid.errors import UserError
from nearid.io.files import read_json, write_json, write_text
from nearid.io.hashing import hash_json
from nearid.io.paths import below, make_private
from nearid.io.programs import ask
from nearid.io.progress import logging_to
from nearid.layout import Layout
from nearid.workflow.files import Files

Config = Mapping[str, Any]
# SLURM sends it before the time limit; training answers between two steps (nearid.distributed.signals).
os.environ.setdefault("SUBMITIT_PREEMPT_SIGNAL", "URG")
# Local jobs inherit it; a cluster's are told in their script.
os.environ["PYTHONSAFEPATH"] = "1"
RULES = ("train_head", "train_head_with_timelapse")
_ALIVE = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED", "PREEMPTED", "SPECIAL_EXIT")


@dataclass(frozen=True)
class Needs:
    """What each job gets. `extra`: any other option of sbatch."""

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


@dataclass(frozen=True)
class Row:
    """One line of the table: `state` is done, diverged, one of SLURM's states in small letters, or not running."""

    ablation: str
    state: str
    progress: str
    loss: float | None
    left: str


class Training:
    """One head's training as submitit calls it, again and again after preemptions and time limits."""

    def __init__(self, settings: Mapping[str, Any], results: Path, code: str, rule: str) -> None:
        self.settings, self.results, self.code, self.rule = dict(settings), results, code, rule

    def __call__(self) -> None:
        """Train, or go on."""
        import torch

        from nearid.heads.training import train

        torch.set_num_threads(1)  # as the rule does: the same bits
        layout = Layout(self.results)
        with logging_to(layout.log("heads", self.rule, self.settings["ablation"])):
            train(self.settings, layout, self.code)

    def checkpoint(self) -> Any:
        """Submitit's hook: the state is in the head's folder, so the same call goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Sweep:
    """The sweep in `folder`; `plan` makes one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "sweep.json").is_file():
            raise UserError(folder, "no sweep", "a folder that `nearid sweep run` made", "check the path")
        record = read_json(folder / "sweep.json")
        self.overlays = [*map(Path, record["overlays"]), folder / "overlay.yaml"]
        self.ablations: list[str] = record["ablations"]
        self.config = load(*self.overlays)
        self.layout = Layout(results_folder(self.config))

    @classmethod
    def plan(
        cls,
        name: str,
        overlays: Sequence[Path],
        ablations: Sequence[str] = (),
        seeds: Sequence[int] = (),
        overrides: Mapping[str, Sequence[Any]] | None = None,
    ) -> Sweep:
        """Write the overlay of a sweep: every combination of ablations, seeds and overrides is a head.

        Args:
            name: of the sweep.
            overlays: on `config.yaml`.
            ablations: to vary, those selected by default.
            seeds: of the heads, the config's by default.
            overrides: values by dotted path in an ablation's entry, e.g. `training.learning_rate`.

        Raises:
            UserError: an unknown ablation, a path or value that the schema does not know.
        """
        config = load(*overlays)
        bases = list(ablations) or config["select"]["ablations"]
        for base in bases:
            if base not in config["ablations"]:
                known = ", ".join(config["ablations"])
                raise UserError(f"sweep {name}", f"ablation {base}", f"one of {known}", "check the id")
        axes = [[("seed", seed) for seed in seeds]] if seeds else []
        axes += [[(path, value) for value in values] for path, values in (overrides or {}).items()]
        made: list[tuple[str, str, Any]] = []
        for base in bases:
            for choice in itertools.product(*axes):
                entry = copy.deepcopy(dict(config["ablations"][base]))
                for path, value in choice:
                    _put(entry, path, value)
                words = [f"{path.rpartition('.')[2]} {value}" for path, value in choice]
                entry["display"] = ", ".join([entry["display"], *words])
                made.append((_spell(base, words), json.dumps([base, choice]), entry))
        entries = _name(made, config["ablations"] if axes else ())
        overlay: dict[str, Any] = {}
        if axes:
            chosen = config["select"]
            overlay = {
                "ablations": entries,
                "scorers": {
                    head: {"display": entry["display"], "kind": "head", "ablation": head}
                    for head, entry in entries.items()
                },
                "select": {
                    "ablations": [*chosen["ablations"], *(head for head in entries if head not in chosen["ablations"])],
                    "scorers": [*chosen["scorers"], *(head for head in entries if head not in chosen["scorers"])],
                },
            }
        folder = below(results_folder(config), "sweeps", name)
        write_text(
            folder / "overlay.yaml", "# Made by `nearid sweep run`.\n" + yaml.safe_dump(overlay, sort_keys=False)
        )
        load(*overlays, folder / "overlay.yaml")
        write_json(folder / "sweep.json", {"overlays": [str(path) for path in overlays], "ablations": list(entries)})
        return cls(folder)

    def run(self, needs: Needs) -> list[str]:
        """Submit what is neither done nor under way; the ablations submitted. Locally it waits for their end."""
        states = self.states()
        waiting = [name for name in self.ablations if states[name] not in ("done", *map(str.lower, _ALIVE))]
        if not waiting:
            return []
        missing = self._missing_inputs()
        if missing:
            raise UserError(
                missing[0],
                "not there",
                "data and tokens of this config",
                f"first make them: {self._snakemake(missing)}",
            )
        calls = [self._training(name) for name in waiting]
        executor = self._executor(needs)
        if needs.executor == "slurm":
            jobs = self._submit(executor, calls)
            self._note(dict(zip(waiting, (job.job_id for job in jobs), strict=True)), needs)
            return waiting
        running: list[Any] = []
        left = list(zip(waiting, calls, strict=True))
        while left or running:
            while left and len(running) < needs.parallel:
                name, call = left.pop(0)
                running.append(executor.submit(call))
                self._note({name: running[-1].job_id}, needs)
            time.sleep(0.5)
            running = [job for job in running if not job.done()]
        return waiting

    def states(self) -> dict[str, str]:
        """State of each head."""
        queued, jobs = self._queued(), self._jobs()
        return {name: self._state(name, queued.get(jobs.get(name, {}).get("job", ""), "")) for name in self.ablations}

    def table(self) -> list[Row]:
        """What each run is doing: state, step, loss, time left, from the head's folder and its log."""
        rows = []
        for name, state in self.states().items():
            progress, left = self._progress(name)
            rows.append(Row(name, state, progress, self._loss(name), left if state == "running" else ""))
        return rows

    def cancel(self) -> list[str]:
        """End the jobs that wait or run; a later `run` goes on from their saved states."""
        states, jobs = self.states(), self._jobs()
        alive = [name for name in self.ablations if states[name] in map(str.lower, _ALIVE)]
        ids = [jobs[name]["job"] for name in alive if jobs[name]["executor"] == "slurm"]
        if ids and (answer := ask("scancel", *ids)) is not None and answer[0]:
            raise UserError("scancel", answer[1], "the jobs cancelled", f"try again: scancel {' '.join(ids)}")
        for name in alive:
            if jobs[name]["executor"] == "local":
                os.kill(int(jobs[name]["job"]), signal.SIGINT)
        # Until they let go of their heads, nobody else could take them up.
        limit = time.monotonic() + 60
        while alive and any(state in _ALIVE for state in self._queued().values()) and time.monotonic() < limit:
            time.sleep(0.5)
        return alive

    def collect(self) -> tuple[list[str], list[str]]:
        """Tell Snakemake of the heads that are up to date; those, and those that are not (they stay for training).

        Up to date is a head whose data, tokens, settings and code are those of today (`inputs_hash`): what Snakemake
        would go by, had it trained the head itself.
        """
        from nearid.heads.training import is_trained

        done = []
        for name in self.ablations:
            own = self._training(name)
            if self._state(name, "") == "done" and is_trained(own.settings, self.layout, own.code):
                done.append(name)
        if done:
            heads = [str(self.layout.head_file(name)) for name in done]
            configs = ["--configfile", *map(str, self.overlays)]
            only = ["--touch", "--cores", "1", "--quiet", "all", "--allowed-rules", *RULES, "--forcerun", *heads]
            said = subprocess.run(
                [sys.executable, "-P", "-m", "snakemake", *only, *configs, "--", *heads], capture_output=True, text=True
            )
            if said.returncode:
                raise UserError(
                    "snakemake --touch", said.stderr.strip()[-500:], "heads recorded", "correct it, collect again"
                )
        return done, [name for name in self.ablations if name not in done]

    def _training(self, name: str) -> Training:
        settings = step_settings("train_head", self.config, ablation=name)
        rule = RULES[Files(self.config, self.layout).keeps_states(name)]
        return Training(settings, self.layout.root, result_code("train_head", settings, self.layout.root), rule)

    def _executor(self, needs: Needs) -> Any:
        import submitit

        folder = self.folder / "submitit"
        # A job runs what the pickle in there says.
        make_private(folder, "a sweep's jobs run what lies in it")
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
            name=_job_name(self.folder),
            slurm_signal_delay_s=needs.warning_s,
            slurm_array_parallelism=needs.parallel,
            slurm_setup=["export PYTHONSAFEPATH=1"],  # a `yaml.py` where the job starts is a file like any other
            slurm_additional_parameters={"requeue": True, **(needs.extra or {})},
            **{f"slurm_{key}": value for key, value in named.items() if value},
        )
        return executor

    def _submit(self, executor: Any, calls: Sequence[Training]) -> list[Any]:
        """One array."""
        try:
            with executor.batch():
                return [executor.submit(call) for call in calls]
        except Exception as error:  # submitit's own, of whatever sbatch said
            raise UserError(
                "sbatch", str(error).strip()[-300:], "jobs submitted", "check --partition, --account, --minutes"
            ) from error

    def _note(self, jobs: Mapping[str, str], needs: Needs) -> None:
        new = {name: {"job": job, "executor": needs.executor, "needs": asdict(needs)} for name, job in jobs.items()}
        write_json(self.folder / "jobs.json", self._jobs() | new)

    def _jobs(self) -> dict[str, Any]:
        path = self.folder / "jobs.json"
        return read_json(path) if path.is_file() else {}

    def _queued(self) -> dict[str, str]:
        """SLURM's state by job id, and RUNNING for local jobs that live."""
        jobs = self._jobs().values()
        found = {}
        if any(job["executor"] == "slurm" for job in jobs):
            name = f"--name={_job_name(self.folder)}"
            answer = ask("squeue", "--noheader", "--array", "--states=all", name, "--format=%i|%T")
            if answer is None or answer[0]:
                raise UserError("squeue", answer[1] if answer else "no answer", "states of jobs", "try again later")
            found = dict(line.split("|") for line in answer[1].splitlines() if "|" in line)
        for job in jobs:
            if job["executor"] == "local" and _lives(job["job"], self.folder):
                found[job["job"]] = "RUNNING"
        return found

    def _state(self, name: str, queued: str) -> str:
        provenance = self.layout.head_file(name, "provenance.json")
        settings = step_settings("train_head", self.config, ablation=name)
        if queued in _ALIVE:
            return queued.lower()
        if provenance.is_file() and read_json(provenance)["settings_hash"] == hash_json(settings):
            return "done"
        if self.layout.head_file(name, "stopped.json").is_file():
            return "diverged"
        return queued.lower() or "not running"

    def _progress(self, name: str) -> tuple[str, str]:
        """(step/steps, seconds left) as the job's log says."""
        log = self.layout.log("heads", self._training(name).rule, name)
        text = log.read_text(errors="replace") if log.is_file() else ""
        found = re.findall(r"train.*?: (\d+/\d+)(?:\s.*?(\d+ s) left)?", text)
        return found[-1] if found else ("", "")

    def _loss(self, name: str) -> float | None:
        logs = [self.layout.head_file(name, "log.jsonl"), *self.layout.head(name).glob(".progress/*/*.jsonl")]
        lines = [line for log in logs if log.is_file() for line in log.read_text().splitlines()[-1:]]
        try:
            return float(json.loads(lines[-1])["loss"]) if lines else None
        except (ValueError, KeyError):  # a line that is being written
            return None

    def _missing_inputs(self) -> list[Path]:
        files = Files(self.config, self.layout)
        wanted = {path for name in self.ablations for path in files.of_head(name)}
        return sorted(path for path in wanted if not path.is_file())

    def _snakemake(self, files: Sequence[Path]) -> str:
        configs = shlex.join(map(str, self.overlays))
        return f"snakemake --configfile {configs} … -- {shlex.join(map(str, files[:3]))} …"


def _spell(base: str, words: Sequence[str]) -> str:
    """An id that can be read: a minus is a word, other punctuation is `_`."""
    text = "_".join([base, *(re.sub(r"(^|[\s\[,e])-(?=[\d.])", r"\1minus ", word) for word in words)])
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _name(made: Sequence[tuple[str, str, Any]], taken: Iterable[str]) -> dict[str, Any]:
    """Entries by id; where two choices, or a choice and an ablation of the config, would share one, a hash follows."""
    choices: dict[str, set[str]] = {name: {""} for name in taken}
    for name, choice, _ in made:
        choices.setdefault(name, set()).add(choice)
    return {
        name if len(choices[name]) == 1 else f"{name}_{hash_json(choice)[:8]}": entry for name, choice, entry in made
    }


def _put(entry: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        entry = entry.setdefault(key, {})
    entry[last] = value


def _job_name(folder: Path) -> str:
    return f"nearid_sweep_{folder.name}_{hash_json(str(folder.absolute()))[:8]}"


def _lives(pid: str, folder: Path) -> bool:
    """Whether a local job's controller lives, and is ours."""
    try:
        return str(folder / "submitit") in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
