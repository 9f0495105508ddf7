"""paper/manifest.json: what was made, from what, by which code, with which settings and on which machine."""

from __future__ import annotations

import csv
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import nearid
from nearid.config.accepted import read_accepted
from nearid.config.settings.paper import WriteManifest
from nearid.config.types import Config
from nearid.io.files import read_json, write_json, write_text
from nearid.io.hashing import hash_file, hash_json
from nearid.layout import Layout
from nearid.paper.costs import compare_costs, judge_cost, read_number, to_csv
from nearid.paper.scripts import dump_script
from nearid.workflow.files import Files

# Packages that can change a number.
PACKAGES = (
    "datasets",
    "deepspeed",
    "h5py",
    "matplotlib",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "scipy",
    "snakemake",
    "torch",
    "transformers",
    "vtk",
)


def write_manifest(settings: WriteManifest, layout: Layout) -> None:
    """Write paper/manifest.json and paper/costs.csv for the whole config in `settings`.

    `result` depends only on config, code and versions, so that two runs with the same ones agree in it. `run` describes
    this run: time, machine, seconds.
    """
    config = settings.config
    result = {
        "config": config,
        "config_hash": hash_json(config),
        "seeds": find_seeds(config),
        "code": read_revision(),
        "versions": read_versions(),
        "accepted": read_accepted(layout.root),
        "artifacts": hash_files(find_artifacts(config, layout), layout.root),
        "inputs": hash_files(find_inputs(config, layout), layout.root),
    }
    costs = read_costs(layout)
    run: dict[str, Any] = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "heads": read_head_provenance(config, layout),
        "costs": costs,
    }
    compared = compare_costs(config, layout, costs)
    write_text(layout.paper("costs.csv"), to_csv(compared))
    run["cost_beside_paper"] = {
        "rows": [asdict(cost) for cost in compared],
        "effect": asdict(effect := judge_cost(compared)) | {"verdict": effect.verdict},
    }
    write_json(layout.paper("manifest.json"), seal(result, run))
    write_text(layout.paper("provenance.js"), about_script(result, run))


def about_script(result: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """What the page shows about the run, as a script beside it: the page itself must not depend on times."""
    about = {"result": {key: result.get(key, []) for key in ("code", "seeds", "versions", "accepted")}}
    about["run"] = {key: value for key, value in run.items() if key != "seal"}
    return f"window.provenance = {dump_script(about)};\n"


def seal(result: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with a hash of itself, by which `nearid paper verify` notices an edit."""
    run = {key: value for key, value in run.items() if key != "seal"}
    return {"result": result, "run": {**run, "seal": hash_json([result, run])}}


def read_costs(layout: Layout) -> list[dict[str, Any]]:
    """Jobs, seconds, CPU seconds and peak memory per stage and rule, from the benchmarks of jobs that finished here."""
    costs = []
    for folder in sorted(layout.benchmark("*", "*", "*").parents[2].glob("*/*")):
        measured: list[dict[str, float]] = []
        for path in sorted(folder.rglob("*.tsv")):
            with path.open(newline="") as stream:
                rows = list(csv.DictReader(stream, delimiter="\t"))
            measured += [{key: read_number(row.get(key)) for key in ("s", "cpu_time", "max_rss")} for row in rows]
        if measured:
            costs.append(
                {
                    "stage": folder.parent.name,
                    "rule": folder.name,
                    "jobs": len(measured),
                    "seconds": round(sum(row["s"] for row in measured), 2),
                    "cpu_seconds": round(sum(row["cpu_time"] for row in measured), 2),
                    "peak_mb": round(max(row["max_rss"] for row in measured)),
                }
            )
    return costs


def find_seeds(config: Config) -> dict[str, Any]:
    """Every seed of a run: the data's, each head's, each figure's."""
    select, figures = config["select"], config["paper"]["figures"]
    return {
        "data": config["seed"],
        "heads": {name: config["ablations"][name].get("seed", config["seed"]) for name in select["ablations"]},
        "figures": {name: figures[name].get("seed", config["seed"]) for name in select["figures"]},
    }


def find_artifacts(config: Config, layout: Layout) -> list[Path]:
    """The files that this stage made for the selected tables and figures."""
    files = Files(config, layout)
    browsed = sorted(path for path in layout.paper("identities").glob("*") if path.is_file())
    return [*files.tables(), *files.figures(), *files.figure_data(), *browsed, *files.told()]


def find_inputs(config: Config, layout: Layout) -> list[Path]:
    """Files that artifacts were made from, without tokens and images, which may be huge and follow from `config`."""
    files, select = Files(config, layout), config["select"]
    heads = [path for ablation in select["ablations"] for path in files.head(ablation)]
    reports = files.reports() if "data" in select["tables"] else []
    scores = [path for scorer in select["scorers"] for path in files.scores(scorer)]
    return [*files.identities(), *files.dropped_records(), *heads, *reports, *files.metrics(), *scores]


def hash_files(files: Iterable[Path], root: Path) -> dict[str, str | None]:
    """Path under `root` -> SHA-256, None for a missing file."""
    return {str(path.relative_to(root)): hash_file(path) if path.is_file() else None for path in files}


def read_versions() -> dict[str, str | None]:
    """Versions of Python and of packages that can change a number; None for one that is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version(), "nearid": nearid.__version__}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def read_revision() -> dict[str, Any]:
    """The checkout's commit and whether tracked files differ from it; `commit` is None outside a checkout."""
    folder = Path(__file__).parent
    commit = _ask("git", "-C", str(folder), "rev-parse", "HEAD")
    changed = _ask("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "changed": None if commit is None else bool(changed)}


def describe_machine() -> dict[str, Any]:
    """Processor, memory, GPUs and system."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpus = _ask("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": gpus.splitlines() if gpus else [],
        "system": platform.platform(),
    }


def read_head_provenance(config: Config, layout: Layout) -> dict[str, Any]:
    """What each head's training wrote about itself; None if it wrote nothing."""
    files = {name: layout.head_file(name, "provenance.json") for name in config["select"]["ablations"]}
    return {name: read_json(path) if path.is_file() else None for name, path in files.items()}


def _ask(*command: str) -> str | None:
    """The output of a program; None if it is missing or fails."""
    if shutil.which(command[0]) is None:
        return None
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return answer.stdout.strip() if answer.returncode == 0 else None
