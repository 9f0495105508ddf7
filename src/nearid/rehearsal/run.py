"""Runs a rehearsal, from its stand-ins to its report."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from nearid.config import load
from nearid.config.types import Config
from nearid.io.files import write_json, write_text
from nearid.layout import Layout
from nearid.paper.manifest import read_costs
from nearid.rehearsal.overlay import shrink
from nearid.rehearsal.report import Report, find_empty_cells, find_idle_rules
from nearid.rehearsal.workspace import fill_mirror, link_checkout
from nearid.workflow import run_lock

CHECKOUT = Path(__file__).resolve().parents[3]
OVERLAY = "rehearsal.yaml"


def rehearse(
    overlays: Sequence[Path], root: Path, arguments: Sequence[str] = (), stand_ins: Mapping[str, Path] | None = None
) -> Report:
    """Run every job of config.yaml with `overlays` on top, on stand-ins, in `root/<name>`.

    What was done there before is not done again. Neither `resources/` nor `results/` of the checkout is touched.

    Args:
        overlays: of the config.
        root: folder of all rehearsals.
        arguments: for Snakemake; without `--cores` or a profile it uses all cores.
        stand_ins: the user's own stand-ins: folders by id of the download.

    Raises:
        UserError: the config is wrong, a download has no stand-in, or another rehearsal of it is under way.
    """
    config = load(*overlays)
    folder = root.resolve() / config["name"]
    with run_lock.held(folder):
        return _rehearse(overlays, config, folder, arguments, stand_ins or {})


def _rehearse(
    overlays: Sequence[Path],
    config: Config,
    folder: Path,
    arguments: Sequence[str],
    stand_ins: Mapping[str, Path],
) -> Report:
    start, name = time.monotonic(), f"rehearsal_{config['name']}"
    link_checkout(CHECKOUT, folder)
    write_text(folder / OVERLAY, yaml.safe_dump(shrink(config, name), sort_keys=False))
    fill_mirror(config, folder, stand_ins)
    small = load(*overlays, folder / OVERLAY)
    configs = ["--configfile", *(str(path.resolve()) for path in overlays), OVERLAY]
    code = _run(folder, ["snakemake", *configs, "--logger", "nearid", *_defaults(arguments), *arguments]).returncode
    layout = Layout(folder / "results" / name)
    report = Report(name, 0, read_costs(layout))
    if code:
        report.faults.append(f"Snakemake ended with exit code {code}: its first message says why")
    summary = _run(folder, ["snakemake", *configs, "--cores", "1", "--summary"], quiet=True)
    if summary.returncode:
        report.faults.append(f"no summary of what ran: {summary.stderr.strip()[-300:]}")
    else:
        report.idle = find_idle_rules(summary.stdout)
    if not report.idle and not report.faults:
        report.empty = find_empty_cells(small, layout)
        verified = _run(folder, ["nearid", "paper", "verify", "--results", str(layout.root)], quiet=True)
        if verified.returncode:
            report.faults.append(f"`nearid paper verify` does not pass:\n{verified.stderr.strip()}")
    report.seconds = round(time.monotonic() - start, 1)
    write_json(folder / "report.json", report.describe())
    return report


def _defaults(arguments: Sequence[str]) -> list[str]:
    """Snakemake's options for a run on this machine; none if the arguments already say how to run."""
    words = {argument.partition("=")[0] for argument in arguments}
    if words & {"--cores", "-c", "--profile", "--workflow-profile", "--jobs", "-j"}:
        return []
    cores = len(os.sched_getaffinity(0))
    # Threads that decode images for a GPU would keep a core from other jobs.
    threads = ["--set-threads", "extract_tokens=1"]
    return ["--cores", str(cores), "--resources", "packed_heads=1", "--rerun-incomplete", "--keep-going", *threads]


def _run(folder: Path, arguments: Sequence[str], quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a module of this Python in the rehearsal's folder, to which the config's paths are relative."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src"), "OMP_NUM_THREADS": "1"}
    # Output goes to stderr, like the progress of all commands; only a report is printed.
    output = subprocess.PIPE if quiet else sys.stderr
    errors = subprocess.PIPE if quiet else None
    command = [sys.executable, "-P", "-m", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=output, stderr=errors) as process:
        try:
            said = process.communicate()
        except BaseException:
            process.terminate()  # Snakemake then ends its jobs; if it were killed, they would go on
            process.wait()
            raise
    return subprocess.CompletedProcess(command, process.returncode, *said)
