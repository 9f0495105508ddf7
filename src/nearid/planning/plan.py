"""What a run will take, stage by stage: jobs, hours, disk, memory; in total and still to do."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nearid.config.inputs import missing_paths
from nearid.config.types import Config
from nearid.layout import Layout
from nearid.workflow.groups import count_submissions, read_sizes
from nearid.workflow.jobs import JOIN, Job, Jobs
from nearid.workflow.needs import describe_too_large, needs_of
from nearid.workflow.rates import H100, Rate, default_rate, expected_speed, measured_rates

PROFILE = Path("slurm/config.yaml")
# Formats of a table's columns, wide enough for a hundred times the paper's run.
_WIDTHS = ("<12", ">6", ">6", ">9", ">8", ">8", ">7", ">7", ">8", ">9")
STAGES = ("fetch", "data", "distractors", "tokens", "heads", "scores", "paper")

WIDTH = 80
"""Columns of a plan's text."""


@dataclass
class StageSummary:
    """Sums over the jobs of one stage.

    Attributes:
        stage: its name, or `all`.
        jobs, files: counts; each job's log and benchmark count as files.
        submissions: cluster jobs, where short jobs share one; steps that run beside Snakemake are not counted.
        gpu_s, cpu_s: seconds of the jobs with and without a GPU.
        size: bytes written.
        memory_mb: memory of the largest job.
        gpu_gb: GPU memory that the largest job needs.
        wall_s: elapsed seconds with the plan's GPUs and cores.
    """

    stage: str
    jobs: int = 0
    submissions: int = 0
    files: int = 0
    gpu_s: float = 0.0
    cpu_s: float = 0.0
    size: float = 0.0
    memory_mb: int = 0
    gpu_gb: int = 0
    wall_s: float = 0.0

    def add(self, other: StageSummary) -> None:
        """Add a stage to this sum. Wall times add up, since stages run one after another."""
        for name in ("jobs", "submissions", "files", "gpu_s", "cpu_s", "size", "wall_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.memory_mb = max(self.memory_mb, other.memory_mb)
        self.gpu_gb = max(self.gpu_gb, other.gpu_gb)


@dataclass(frozen=True)
class Plan:
    """`total` and `remaining`: a row per stage, the last one `all`; `basis`: the source of each rate, by key.

    `painting`: the duration of the longest painting job and, where jobs take much longer than `painting_minutes`, the
    `seconds_per_image` to write into the config.
    """

    name: str
    gpus: int
    cores: int
    total: list[StageSummary]
    remaining: list[StageSummary]
    basis: dict[str, str]
    painting: list[str]
    warnings: list[str]


def make_plan(
    config: Config,
    layout: Layout,
    gpus: int = 1,
    cores: int = 0,
    quota_gb: float | None = None,
    card_gb: float | None = None,
    profile: Path = PROFILE,
) -> Plan:
    """Add up the jobs of `config`, with rates from this run's own benchmarks where there are any.

    Args:
        config: checked and complete.
        layout: where its results are or will be.
        gpus: GPUs available at the same time.
        cores: cores available; 0: those of this machine.
        quota_gb: gigabytes that may still be written, if less than the file system has free.
        card_gb: memory of one GPU; jobs that need more give a warning.
        profile: a cluster's profile, which says how many short jobs share a cluster job.
    """
    cores = cores or os.cpu_count() or 1
    jobs = Jobs(config, layout).all()
    measured = measured_rates(layout, jobs)
    rates = {job.rate: measured.get(job.rate, default_rate(job)) for job in jobs}
    seconds = {job: rates[job.rate].start + rates[job.rate].per_unit * job.units for job in jobs}
    memory = {job: rates[job.rate].memory_mb for job in jobs}
    left = [job for job in jobs if not all(path.exists() for path in job.outputs)]
    sizes = read_sizes(profile)
    total = _sum_up(jobs, seconds, memory, gpus, cores, sizes)
    remaining = _sum_up(left, seconds, memory, gpus, cores, sizes)
    warnings = _warn(remaining[-1], layout.root, gpus, quota_gb)
    warnings += [f"{key}: {path or 'nothing'!r} is not there" for key, path in missing_paths(config).items()]
    warnings += describe_too_large(left, card_gb) if card_gb else []
    basis = {key: rate.source for key, rate in rates.items()}
    painting = _describe_painting(config, jobs, seconds, rates)
    return Plan(config["name"], gpus, cores, total, remaining, basis, painting, warnings)


def format_plan(plan: Plan) -> str:
    """The plan as text of `WIDTH` columns, the paper's on one screen: what is left to do, and the sum of all jobs."""
    whole, left = plan.total[-1], plan.remaining[-1]
    done = f"{whole.jobs - left.jobs} of {whole.jobs} jobs done, to do:" if left.jobs < whole.jobs else "to do:"
    lines = [f"{plan.name}, with {_count(plan.gpus, 'GPU')} and {_count(plan.cores, 'core')}, {done}"]
    lines.append(_columns("stage", "jobs", "SLURM", "GPU h", "CPU h", "disk", "files", "memory", "GPU mem", "wall"))
    lines += map(_line, plan.remaining)
    if left.jobs < whole.jobs:
        lines.append(_line(replace(whole, stage="with done")))
    kinds = Counter(source.partition(",")[0] for source in plan.basis.values())
    rates = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    lines += _wrap(f"Rates from: {rates} (--json names each; the more is done, the more are measured)")
    for line in (*plan.painting, *(f"WARNING: {warning}" for warning in plan.warnings)):
        lines += _wrap(line)
    return "\n".join(lines) + "\n"


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _sum_up(
    jobs: Sequence[Job],
    seconds: Mapping[Job, float],
    memory: Mapping[Job, int],
    gpus: int,
    cores: int,
    sizes: Mapping[str, int],
) -> list[StageSummary]:
    rows = []
    for stage in STAGES:
        own = [job for job in jobs if job.stage == stage]
        row = StageSummary(stage, len(own), count_submissions(own, sizes), sum(len(job.outputs) + 2 for job in own))
        row.gpu_s = sum(seconds[job] for job in own if job.gpu)
        row.cpu_s = sum(seconds[job] for job in own if not job.gpu)
        row.size = sum(job.size for job in own)
        row.memory_mb = max((memory[job] for job in own), default=0)
        row.gpu_gb = max((needs_of(job).gpu_gb for job in own), default=0)
        # Jobs run in parallel, but a stage takes as long as its longest job.
        longest = max((seconds[job] for job in own), default=0.0)
        row.wall_s = max(longest, row.gpu_s / max(1, gpus), row.cpu_s / cores)
        rows.append(row)
    whole = StageSummary("all")
    for row in rows:
        whole.add(row)
    return [*rows, whole]


def _describe_painting(
    config: Config, jobs: Sequence[Job], seconds: Mapping[Job, float], rates: Mapping[str, Rate]
) -> list[str]:
    longest: dict[str, Job] = {}
    for job in jobs:
        if job.stage == "distractors" and job.rate != JOIN:
            source = job.name.partition("/")[0]
            longest[source] = max(longest.get(source, job), job, key=lambda each: seconds[each])
    if not longest:
        return []
    whole = max(longest.values(), key=lambda job: seconds[job])
    lines = [f"Longest painting job: {whole.name}, {_time(seconds[whole])}"]
    limit_s = 1.5 * 60 * config["painting_minutes"]
    slow = {source: rates[job.rate].per_unit for source, job in longest.items() if seconds[job] > limit_s}
    if slow:
        written = ", ".join(f"{source}: {{seconds_per_image: {rate:.3g}}}" for source, rate in slow.items())
        lines.append(f"sources: {{{written}}}  would cut them into jobs of {config['painting_minutes']:g} minutes")
    plain, faster = 0.0, 0.0
    for job in jobs:
        source = job.name.partition("/")[0]
        if job.stage == "distractors" and job.gpu:
            hours, rate = seconds[job] / 3600, rates[job.rate]
            plain += hours
            expected = not rate.source.startswith(("measured", "make bench-gpu"))
            faster += hours / (expected_speed(config["sources"][source]["options"]) if expected else 1.0)
    if faster < plain:
        lines.append(
            f"Painting: {plain:.0f} GPU h as above; compiled and in batches {faster:.0f} are expected on A100s, "
            f"{faster / H100:.0f} on H100s (make bench-gpu measures)"
        )
    return lines


def _warn(left: StageSummary, root: Path, gpus: int, quota_gb: float | None) -> list[str]:
    folder = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if quota_gb is not None:
        free = min(free, int(quota_gb * 1e9))
    warnings = []
    if left.size * 1.1 > free:
        needed = f"{_bytes(left.size * 1.1)} still to write (a tenth for work in progress)"
        warnings.append(
            f"{needed}, {_bytes(free)} free at {folder}: free some, ask for quota, or set results_dir elsewhere"
        )
    if left.gpu_s and not gpus:
        warnings.append("some jobs need a GPU: give --gpus, run them on a cluster (docs/slurm.md), or select less")
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    if left.memory_mb > available:
        warnings.append(
            f"the largest job needs about {left.memory_mb / 1e3:.0f} GB; this machine has {available / 1e3:.0f}"
        )
    return warnings


def _line(row: StageSummary) -> str:
    counts = (f"{row.jobs}", f"{row.submissions or '-'}", _hours(row.gpu_s), _hours(row.cpu_s))
    files = (_bytes(row.size), f"{row.files}", _bytes(row.memory_mb * 1e6), _gpu_memory(row.gpu_gb))
    return _columns(row.stage, *counts, *files, _time(row.wall_s))


def _columns(*words: str) -> str:
    return "".join(f"{word:{form}}" for word, form in zip(words, _WIDTHS, strict=True))


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.0f}" if hours >= 9999.5 else f"{hours:.2f}"


def _gpu_memory(gigabytes: int) -> str:
    return f"{gigabytes} GB" if gigabytes else "-"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _time(seconds: float) -> str:
    return (
        f"{seconds / 3600:.{0 if seconds >= 3.6e7 else 1}f} h"
        if seconds >= 5400
        else f"{seconds / 60:.1f} min"
        if seconds >= 60
        else f"{seconds:.0f} s"
    )
