"""The report of a run: its size, a line per stage, each warning once, failures in four lines, and how it ended."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from snakemake_logger_plugin_nearid.logs import (
    INTERRUPTED,
    read_problem,
    read_warnings,
    shorten,
    strip_frame,
    tells_problem,
)

RULE = re.compile(r"^(?:use rule \w+ as|rule|checkpoint) (\w+)", re.MULTILINE)
# The same as in `nearid.errors.harmless`.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Rules without a job of their own, and Snakemake's total; the stage of rules outside the stages' files.
GATHERING = ("all", "default", "total")
OTHER = "other"
# If lines are not redrawn, a stage that takes long reports its progress at this interval.
INTERVAL_S = 60.0
# Messages of Snakemake that are left out, or replaced by the account's own.
_ENDED = (
    "At least one job did not complete successfully",
    "Exiting because a job execution failed",
    "CalledProcessError",
)
_STOPPED = ("Terminating processes on user request", "Will exit after finishing")


@dataclass
class StageProgress:
    """How far one stage is.

    Attributes:
        total: jobs in this run.
        done: jobs that have succeeded.
        running: jobs that are running.
        begun: whether any job has started.
        told: time of the last line about it.
    """

    total: int
    done: int = 0
    running: int = 0
    begun: bool = False
    told: float = 0.0
    _busy: float = 0.0
    _since: float = 0.0

    def start(self, now: float) -> None:
        """A job has started."""
        if not self.begun:
            self.begun, self.told = True, now
        if not self.running:
            self._since = now
        self.running += 1

    def stop(self, now: float) -> None:
        """A job has ended, successfully or not."""
        self.running -= 1
        if not self.running:
            self._busy += now - self._since

    @property
    def waiting(self) -> bool:
        """Whether it has begun and is not done."""
        return self.begun and self.done < self.total

    def line(self, name: str, now: float) -> str:
        """Counts, time during which any job was running and, at the rate so far, the time left."""
        spent = self._busy + (now - self._since if self.running else 0.0)
        line = f"{name:<12} {self.done:>5} of {self.total} jobs  {_format_time(spent):>8}"
        if 0 < self.done < self.total:
            line += f", about {_format_time(spent / self.done * (self.total - self.done))} left"
        return line


class Account:
    """Receives Snakemake's events and writes lines.

    Args:
        stream: where to write.
        live: whether lines of running stages may be redrawn in place.
        find_log: returns the name of Snakemake's own log file.
        clock: returns seconds.
    """

    def __init__(
        self, stream: TextIO, live: bool, find_log: Callable[[], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._live, self._find_log, self._clock = stream, live, find_log, clock
        self._drawn = 0
        self._stage_of: dict[str, str] = {}
        self._stages: dict[str, StageProgress] = {}
        self._jobs: dict[int, tuple[str, str, list[str]]] = {}
        self._failed: dict[int, str] = {}
        self._spared: set[int] = set()
        self._group_logs: list[str] = []
        self._said: set[str] = set()
        self._config, self._where, self._total, self._done = "", "", 0, 0
        self._begin = clock()
        self._started = self._running = self._stopped = self._ended = False
        self._log = ""

    def hear(self, record: logging.LogRecord) -> None:
        """Handle one record of Snakemake's logger."""
        event = getattr(record, "event", None)
        teller = getattr(self, f"_hear_{event}", None) if event else None
        if teller:
            teller(record)
        elif event is None:
            self._hear_words(record)
        self._draw()

    def end(self) -> None:
        """Write the closing line."""
        if self._ended:
            return
        self._ended = True
        self._rub_out()
        if not self._running:
            return
        for name, stage in self._stages.items():
            if stage.waiting:
                self._write(stage.line(name, self._clock()))
        spent = _format_time(self._clock() - self._begin)
        log = f" The full log: {self._log}" if self._log else ""
        if self._failed:
            failed = f"{len(self._failed)} failed, {self._done} of {self._total} jobs are done, after {spent}."
            self._write(f"{failed} The same command resumes.{log}")
        elif self._stopped:
            self._write(f"Stopped: {self._done} of {self._total} jobs are done. The same command resumes.{log}")
        elif self._done >= self._total:
            self._write(f"All {self._total} jobs are done, after {spent}.{log}")

    def _hear_workflow_started(self, record: Any) -> None:
        self._started = True
        overlays = [path for path in map(str, record.configfiles or []) if path != "config.yaml"]
        self._config = " ".join(map(show_path, overlays)) or "config.yaml"
        self._stage_of = find_stages(Path(record.snakefile_main))

    def _hear_resources_info(self, record: Any) -> None:
        if hasattr(record, "cores"):
            self._where = f"{record.cores} cores" if record.cores != 1 else "one core"
        elif hasattr(record, "nodes"):
            self._where = f"up to {record.nodes} jobs of the cluster at a time"

    def _hear_run_info(self, record: Any) -> None:
        counts: Counter[str] = Counter()
        for rule, count in record.stats.items():
            if stage := self._find_stage(rule):
                counts[stage] += count
        order = dict.fromkeys([*self._stage_of.values(), OTHER])
        self._stages = {name: StageProgress(counts[name]) for name in order if counts[name]}
        self._total = counts.total()

    def _hear_job_info(self, record: Any) -> None:
        stage = self._find_stage(record.rule_name)
        wildcards = " ".join(f"{name}={value}" for name, value in dict(record.wildcards or {}).items())
        self._jobs[record.jobid] = (stage, f"{record.rule_name} {wildcards}".strip(), list(record.log or []))
        if not stage:
            return
        if not self._running:
            # Not earlier: a run that the workflow refuses has no stages.
            log = self._find_log()
            self._running, self._log = True, show_path(log) if log else ""
            named = f"; the full log: {self._log}" if log else ""
            self._say(f"{self._config}: {self._total} jobs, {self._where}{named}")
            self._begin = self._clock()
        self._stages.setdefault(stage, StageProgress(0)).start(self._clock())

    def _hear_job_finished(self, record: Any) -> None:
        stage, _, logs = self._jobs.get(record.job_id, ("", "", []))
        self._failed.pop(record.job_id, None)
        self._tell_warnings(logs)
        if not stage:
            return
        own = self._stages[stage]
        own.done += 1
        self._done += 1
        now = self._clock()
        own.stop(now)
        if own.done == own.total or (not self._live and now - own.told >= INTERVAL_S):
            own.told = now
            self._say(own.line(stage, now))

    def _hear_group_error(self, record: Any) -> None:
        # Errors of all its jobs follow; jobs that ended because another one failed have nothing to report.
        logs = {info["jobid"]: [str(path) for path in info["log"] or []] for info in record.job_error_info}
        guilty = {jobid for jobid, paths in logs.items() if tells_problem(paths)} or {*list(logs)[:1]}
        self._spared = set(logs) - guilty
        self._group_logs = [str(path) for path in record.aux_logs or []]

    def _hear_job_error(self, record: Any) -> None:
        stage, name, _ = self._jobs.get(record.jobid, ("", record.rule_name, []))
        if stage:
            self._stages[stage].stop(self._clock())
        if record.jobid in self._spared:
            self._spared.remove(record.jobid)
            return
        logs = [str(path) for path in record.log or []]
        if getattr(record, "indent", False):
            logs += self._group_logs
        self._tell_warnings(logs)
        problem = read_problem(logs, str(record.rule_msg or ""))
        if self._stopped or problem.error == INTERRUPTED:
            self._stopped = True
            return
        # A repeated job often fails in the same way.
        if self._failed.get(record.jobid) != problem.error:
            log = show_path(problem.log) if problem.log else "none was written"
            self._say(f"failed: {name}\nerror:  {problem.error}\nlog:    {log}\nnext:   {problem.next}")
        self._failed[record.jobid] = problem.error

    def _hear_error(self, record: Any) -> None:
        text = record.getMessage()
        if not any(words in text for words in _ENDED):
            self._say(strip_frame(text))

    def _hear_words(self, record: logging.LogRecord) -> None:
        text = str(record.msg or "").strip()
        if any(words in text for words in _STOPPED):
            self._stopped = True
        elif record.levelno >= logging.WARNING:
            if not any(words in text for words in _ENDED):
                self._once(f"{'warning' if record.levelno < logging.ERROR else 'error'}: {shorten(text)}")
        elif text.startswith("Nothing to be done"):
            self._say(f"{self._config}: nothing to do, everything is there and up to date")
        elif found := re.match(r"Trying to restart job (\S+)\.", text):
            # The id of a group means nothing to people.
            known = self._jobs.get(int(found[1])) if found[1].isdecimal() else None
            self._say(f"again:  {known[1] if known else 'all jobs of its group'}")
        elif not self._started and not text.startswith(("Assuming unrestricted", "Config file", "host:")):
            # Messages of Snakemake's other commands, such as --unlock.
            self._say(text)

    def _find_stage(self, rule: str) -> str:
        return "" if rule in GATHERING else self._stage_of.get(rule, OTHER)

    def _tell_warnings(self, logs: Iterable[str]) -> None:
        for warning in read_warnings(logs):
            self._once(f"warning: {warning}")

    def _once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def _say(self, text: str) -> None:
        """Write lines that stay."""
        self._rub_out()
        self._write(text)

    def _write(self, text: str) -> None:
        # Spell out control characters, which may come from other programs' text.
        shown = CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
        self._stream.write(f"{shown}\n")
        self._stream.flush()

    def _draw(self) -> None:
        """In a terminal, draw a line for each running stage, below the lines that stay."""
        if not self._live or self._ended:
            return
        self._rub_out()
        now, width = self._clock(), shutil.get_terminal_size().columns - 1
        for name, stage in self._stages.items():
            if stage.waiting:
                self._stream.write(stage.line(name, now)[:width] + "\n")
                self._drawn += 1
        self._stream.flush()

    def _rub_out(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0


def find_stages(snakefile: Path) -> dict[str, str]:
    """Rule -> stage, which is the name of its file in `workflow/rules`, in the order of the includes."""
    folder = snakefile.parent if snakefile.parent.name == "workflow" else snakefile.parent / "workflow"
    main = folder / "Snakefile"
    order = re.findall(r'include: "rules/(\w+)\.smk"', main.read_text()) if main.exists() else []
    files = {path.stem: path for path in sorted(folder.glob("rules/*.smk"))}
    names = [*(name for name in order if name in files), *(name for name in files if name not in order)]
    return {rule: name for name in names for rule in RULE.findall(files[name].read_text())}


def show_path(path: str) -> str:
    """A path relative to where the user gave the command, which need not be Snakemake's folder; absolute if outside."""
    from_there = os.path.relpath(path, os.environ.get("PWD", "."))
    return str(Path.cwd() / path) if from_there.startswith("..") else from_there


def _format_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
