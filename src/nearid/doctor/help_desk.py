"""A page for a cluster's help desk: what a run requests, what the cluster offers, what is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from nearid.config.types import Config
from nearid.doctor.findings import Finding
from nearid.doctor.slurm_checks import Group, ask_associations, minutes_of, read_groups, read_routes
from nearid.io.programs import ask
from nearid.layout import Layout
from nearid.workflow.groups import group_of
from nearid.workflow.jobs import Job, Jobs
from nearid.workflow.needs import needs_of
from nearid.workflow.steps import RULES

# Lines of `scontrol show config` that a help desk looks at first.
_SETTINGS = ("SLURM_VERSION", "ClusterName", "MinJobAge", "MaxArraySize", "MaxJobCount", "AccountingStorageType")
# Findings that a help desk can do something about.
_THEIRS = {"slurm", "partition", "account", "job status", "file system", "locks", "clock", "space"}
_LIMITS = ("account", "qos", "maxjobs", "maxsubmitjobs", "grptres", "maxtres")
# Of a QOS: jobs that a user may have running and submitted, and what one job, and a user, may take.
_QOS_LIMITS = ("name", "maxjobspu", "maxsubmitpu", "maxwall", "maxtrespu")


def format_page(config: Config, layout: Layout, profile: Path, findings: Iterable[Finding]) -> str:
    """The page, about thirty lines.

    Args:
        config: of the run.
        layout: where its results go.
        profile: slurm/config.yaml, or one like it.
        findings: of `doctor`; the page lists faults of the cluster, and jobs that fit no partition, as `Short`.
    """
    settings = yaml.safe_load(profile.read_text()) if profile.is_file() else {}
    groups = read_groups()
    sizes = settings.get("group-components") or {}
    alike: dict[tuple[str, int], list[Job]] = {}
    for job in Jobs(config, layout).all():
        if not RULES[job.rule].local:
            group = group_of(job, sizes)
            alike.setdefault((job.rule, sizes[group] if group else 1), []).append(job)
    threads = settings.get("set-threads") or {}
    asked = [_row(rule, size, jobs, int(threads.get(rule, 1))) for (rule, size), jobs in alike.items()]
    lines = ["For the cluster's help desk", "", f"Asked by {profile} for {config['name']}:"]
    lines += [f"  {line}" for line in [*_terms(settings), *_table(_HEADS, [row[:-1] for row in asked])]]
    lines += ["", "Offered (sinfo, sacctmgr, scontrol):"]
    rows = [
        (one.partition, _time(one.minutes), str(one.nodes), str(one.cpus), f"{one.memory_mb}", one.gres or "-")
        for one in groups
    ]
    lines += [f"  {line}" for line in _table(("partition", "time limit", "nodes", "CPUs", "MB", "GPUs"), rows)]
    lines += [f"  {line}" for line in [*_limits(), *_site()]]
    lines += ["", "Short:"]
    short = [f"{one.check}: {one.found}" for one in findings if one.level == "fault" and one.check in _THEIRS]
    wanted = str((settings.get("default-resources") or {}).get("slurm_partition") or "")
    named = wanted or read_routes(settings.get("slurm-partition-config"))
    short += _unfit(asked, [one for one in groups if (one.partition in named.split(",") if named else one.default)])
    lines += [f"  {line}" for line in short or ["nothing that could be seen from here"]]
    return "\n".join(lines) + "\n"


_HEADS = ("rule", "jobs", "CPUs", "MB", "minutes", "GPUs", "GPU memory")
Row = tuple[str, str, str, str, str, str, str, tuple[int, int, int, int]]


def _row(rule: str, size: int, jobs: list[Job], threads: int) -> Row:
    """The most that any of these cluster jobs requests, as text and as (CPUs, MB, minutes, GPUs).

    Args:
        rule: of all jobs.
        size: how many of them share a cluster job, at most.
        jobs: of the workflow.
        threads: of each.
    """
    needs, size = [needs_of(job) for job in jobs], min(size, len(jobs))
    memory, minutes = max(one.memory_mb for one in needs), size * max(one.minutes for one in needs)
    gpus, gpu_gb = max(one.gpus for one in needs), max(one.gpu_gb for one in needs)
    name = f"{rule}, {size} together" if size > 1 else rule
    words = (name, str(math.ceil(len(jobs) / size)), str(threads), str(memory), str(minutes), str(gpus or "-"))
    return (*words, f"{gpu_gb} GB" if gpus else "-", (threads, memory, minutes, gpus))


def _terms(settings: Mapping[str, Any]) -> list[str]:
    defaults = settings.get("default-resources") or {}
    named = {"partition": "slurm_partition", "account": "slurm_account", "constraint": "constraint"}
    words = [f"{word} {defaults.get(key) or 'the default'}" for word, key in named.items()]
    if routes := settings.get("slurm-partition-config"):
        words[0] = f"partitions by {routes}"
    words.append(f"QOS {settings.get('slurm-qos') or 'the default'}")
    pace = f"at most {settings.get('jobs')} jobs at a time, {settings.get('max-jobs-per-timespan')} submitted"
    checks = float(settings.get("max-status-checks-per-second") or 10)
    status = (
        f"states by {settings.get('slurm-status-command', 'sacct')}, one call for all each {1 / checks:.0f} s at most"
    )
    return [", ".join(words), f"{pace}, {status}"]


def _limits() -> list[str]:
    answer = ask_associations(*_LIMITS)
    if answer is None or answer[0] or not answer[1]:
        return ["accounts: no accounting, or it does not answer"]
    rows = sorted({tuple(line.split("|")) for line in answer[1].splitlines()})
    mine = {name for row in rows for name in row[_LIMITS.index("qos")].split(",")}
    ours = [row for row in _read_qos() if row[0] in mine and any(row[1:])]
    of_qos = _table(("limits of QOS", *_QOS_LIMITS[1:]), _fill(ours)) if ours else []
    return _table(_LIMITS, _fill(rows)) + of_qos


def _read_qos() -> list[tuple[str, ...]]:
    answer = ask("sacctmgr", "--noheader", "--parsable2", "show", "qos", f"format={','.join(_QOS_LIMITS)}")
    return [] if answer is None or answer[0] else [tuple(line.split("|")) for line in answer[1].splitlines()]


def _fill(rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [tuple(word or "-" for word in row) for row in rows]


def _site() -> list[str]:
    answer = ask("scontrol", "show", "config")
    found = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", answer[1], re.MULTILINE)) if answer and not answer[0] else {}
    said = ", ".join(f"{name} {found[name]}" for name in _SETTINGS if name in found)
    return [said or "scontrol does not answer"]


def _unfit(asked: Iterable[Row], groups: list[Group]) -> list[str]:
    """Rows whose jobs fit on no group of nodes of these partitions."""
    short = []
    for row in asked if groups else ():
        cpus, memory, minutes, gpus = row[-1]
        fits = [
            one.cpus >= cpus and one.memory_mb >= memory and one.minutes >= minutes and (not gpus or "gpu" in one.gres)
            for one in groups
        ]
        if not any(fits):
            wanted = f"{cpus} CPUs, {memory} MB, {minutes} minutes" + (f", {gpus} GPU" if gpus else "")
            short.append(f"{row[0]}: no node of these partitions has {wanted}")
    return short


def _time(minutes: float) -> str:
    return "none" if minutes == minutes_of("UNLIMITED") else f"{minutes:.0f} min"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = [heads, *rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(heads))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in cells]
