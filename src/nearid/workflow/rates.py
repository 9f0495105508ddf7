"""How long a unit of work takes: default rates, replaced by rates measured in runs on this machine."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nearid.io.files import read_json
from nearid.layout import Layout
from nearid.workflow.jobs import Job


@dataclass(frozen=True)
class Rate:
    """Seconds of a job: `start` (imports, loading a model) and `per_unit`; peak memory in MB; source of these numbers.

    Units: images for making pictures, bytes of tokens for extracting, training and scoring, pairs for judges.
    """

    start: float
    per_unit: float
    memory_mb: int
    source: str = "demo, 2 cores"


_A100 = "estimate, A100"
RATES = {
    "fetch": Rate(5, 1e-8, 500, "estimate, 100 MB/s"),
    "curate/rendered": Rate(4, 0.03, 900),
    "curate": Rate(5, 0.03, 2000, "estimate"),
    "sibling": Rate(4, 0.045, 400),
    "cut_paste": Rate(3, 0.05, 300),
    "flux_fill": Rate(120, 8.0, 16_000, _A100),
    "flux_canny": Rate(120, 4.5, 16_000, _A100),
    "qwen_controlnet": Rate(200, 1.2, 16_000, _A100),
    "sdxl_inpaint": Rate(40, 1.4, 12_000, _A100),
    "powerpaint": Rate(40, 3.5, 10_000, _A100),
    "join": Rate(5, 0.002, 4000, "estimate"),
    "released": Rate(5, 0.03, 4000, "estimate"),
    "extract/cpu": Rate(6, 4e-7, 650),
    # 0.665 TFLOP per image (1.68 MB) at half of the peak; eight cores decode twice as fast (14 ms per image and core).
    "extract/gpu": Rate(30, 2.5e-9, 6000, "estimate, A100 and 8 cores"),
    "train/cpu": Rate(7, 3.4e-9, 600),
    "train/gpu": Rate(40, 3e-10, 8000, "estimate, NVMe"),
    # As extraction: each image passes through the backbone; no tokens are read or written.
    "train_online/cpu": Rate(7, 4e-7, 900),
    "train_online/gpu": Rate(40, 2.5e-9, 10_000, "estimate, A100 and 8 cores"),
    "embed/gpu": Rate(30, 0.01, 6000, "estimate, A100 and 8 cores"),
    "score/tokens": Rate(6, 1e-8, 550),
    "score/colour_histogram": Rate(1.5, 5e-4, 250),
    "score/judge_stand_in": Rate(1.2, 8e-4, 250),
    "score/ratings": Rate(1, 1e-5, 250, "estimate"),
    "score/vlm_judge": Rate(120, 1.0, 16_000, _A100),
    "score/vsm": Rate(60, 0.4, 12_000, _A100),
    "summarise": Rate(1.8, 0, 150),
    "table": Rate(0.3, 0, 150),
    "figure": Rate(3.5, 0, 550),
}
_UNKNOWN = Rate(10, 0.5, 4000, "a guess")
# Expected speed-up of a painter over one image at a time, uncompiled, on an A100: published measurements, used until
# `make bench-gpu` has measured. Batches help the UNets, whose kernels are short.
COMPILED, BATCHED, CUDNN_ATTENTION = 1.25, 2.0, 1.1
H100 = 2.15


def expected_speed(options: Mapping[str, Any]) -> float:
    """Expected speed-up of a painter with these options over one without them."""
    speed = COMPILED if options.get("compile") and options.get("offload", "none") == "none" else 1.0
    speed *= BATCHED if options.get("batch_size", 1) > 1 else 1.0
    return speed * (CUDNN_ATTENTION if "cudnn" in options.get("attention", "") else 1.0)


# A judge with offloading loads its layers over PCIe 4 for every token of an answer, about a hundred, once for all pairs
# of a batch.
JUDGE = "score/vlm_judge"
ANSWER_TOKENS, PCIE_GB_S = 100, 20
# The largest share of the weights that is kept outside the GPU.
WAITING = {"none": 0.0, "model": 0.5, "group": 0.8}

MEASURED = Path(__file__).with_name("measured.json")
"""What `make bench-gpu` measured on this machine's card, or on the cluster's: seconds per unit by key."""


def bench_rates(path: Path | None = None) -> dict[str, Rate]:
    """The rates that `make bench-gpu` wrote; none if it has not run."""
    path = path or MEASURED
    if not path.is_file():
        return {}
    found = read_json(path)
    source = f"make bench-gpu, {found['card']}"
    known = {key: RATES.get(key) or RATES.get(key.partition("/")[0]) or _UNKNOWN for key in found["rates"]}
    return {key: replace(known[key], per_unit=each, source=source) for key, each in found["rates"].items()}


def default_rate(job: Job) -> Rate:
    """A job's rate by its key, or the key's first part: measured on a GPU, else from the config, else from `RATES`."""
    measured = bench_rates().get(JUDGE if job.side_by_side else job.rate)
    if job.side_by_side and job.offload != "none":
        rate = measured or RATES[JUDGE]
        brought = WAITING[job.offload] * job.model_gb / PCIE_GB_S * ANSWER_TOKENS / job.side_by_side
        return replace(rate, per_unit=rate.per_unit + brought, source="estimate, layers over PCIe 4")
    if measured:
        return measured
    rate = RATES.get(job.rate) or RATES.get(job.rate.partition("/")[0]) or _UNKNOWN
    if job.seconds_per_unit:
        return replace(rate, per_unit=job.seconds_per_unit, source="config, seconds_per_image")
    return rate


def read_benchmark(layout: Layout, job: Job) -> tuple[float, float] | None:
    """(seconds, peak MB) of a job as Snakemake measured it; None where it did not run, or its file is damaged."""
    path = layout.benchmark(job.stage, job.rule, job.name)
    try:
        with path.open(newline="") as stream:
            row = list(csv.DictReader(stream, delimiter="\t"))[-1]
        return float(row["s"]), float(row["max_rss"])
    except (OSError, IndexError, KeyError, ValueError):
        return None


def measured_rates(layout: Layout, jobs: Iterable[Job]) -> dict[str, Rate]:
    """Rates by key, from the finished jobs of this run: their mean time per unit beyond the start."""
    seen: dict[str, list[tuple[Job, float, float]]] = defaultdict(list)
    for job in jobs:
        found = read_benchmark(layout, job)
        if found is not None:
            seen[job.rate].append((job, *found))
    rates = {}
    for key, rows in seen.items():
        default = default_rate(rows[0][0])
        units = sum(job.units for job, _, _ in rows)
        took = sum(seconds for _, seconds, _ in rows)
        start = min(default.start, *(seconds for _, seconds, _ in rows)) if default.per_unit else took / len(rows)
        per_unit = (took - start * len(rows)) / units if units and default.per_unit else 0.0
        rates[key] = Rate(start, per_unit, round(max(memory for _, _, memory in rows)), f"measured, {len(rows)} jobs")
    return rates
