"""Size and cost of a config's tokens, before anything runs; and which of its token shards must be made again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nearid.config.packs import packs
from nearid.config.settings.tokens import ExtractTokens
from nearid.config.steps import step_settings, training_of
from nearid.config.types import Config
from nearid.config.variants import MIRRORED, parse
from nearid.errors import UserError
from nearid.layout import Layout
from nearid.tokens import load_backbone
from nearid.tokens.store import TokenStore
from nearid.workflow.jobs import Job, Jobs
from nearid.workflow.rates import default_rate, measured_rates

if TYPE_CHECKING:
    from nearid.tokens.backbones import Backbone

NVME = 6.0
"""Gigabytes per second that a node's own NVMe disk delivers (estimate, docs/performance.md 3)."""


@dataclass(frozen=True)
class CollectionPlan:
    """A collection's tokens by one backbone.

    Attributes:
        backbone, collection: their ids.
        images: number of different images.
        variants: those extracted for at least one image.
        stored: number of stored images, each variant counted by itself.
        size: bytes.
        files: shards.
        seconds: total of its jobs, on a GPU if `gpu`.
    """

    backbone: str
    collection: str
    images: float
    variants: tuple[str, ...]
    stored: float
    size: float
    files: int
    seconds: float
    gpu: bool


@dataclass(frozen=True)
class EpochPlan:
    """What the heads of a pack read from the token cache per epoch: bytes, and seconds at the plan's reading rate."""

    ablations: tuple[str, ...]
    epochs: int
    size: float
    seconds: float


@dataclass(frozen=True)
class TokenPlan:
    """The tokens of a config; `rates`: the source of each backbone's rate."""

    name: str
    collections: list[CollectionPlan]
    epochs: list[EpochPlan]
    read_gb_per_s: float
    rates: dict[str, str]


def plan_tokens(config: Config, layout: Layout, read_gb_per_s: float = NVME) -> TokenPlan:
    """Images, variants, bytes, files and hours of the tokens of `config`, and the time to read them in training.

    Args:
        config: checked and complete.
        layout: where its results are or will be; rates come from its benchmarks where there are any.
        read_gb_per_s: rate at which training reads, in GB/s.
    """
    jobs = Jobs(config, layout)
    shards = jobs.of("extract_tokens")
    rates = {job.rate: default_rate(job) for job in shards} | measured_rates(layout, shards)
    by_collection: dict[tuple[str, str], list[Job]] = {}
    for job in shards:
        backbone, collection, _ = job.name.split("/")
        by_collection.setdefault((backbone, collection), []).append(job)
    rows, sources = [], {}
    for (backbone, collection), own in by_collection.items():
        counts, rate = jobs.token_counts(backbone, collection), rates[own[0].rate]
        size = sum(job.size for job in own)
        seconds = rate.start * len(own) + rate.per_unit * size
        images = jobs.token_images(backbone, collection)
        stored = sum(counts.values())
        rows.append(
            CollectionPlan(backbone, collection, images, tuple(counts), stored, size, len(own), seconds, gpu=own[0].gpu)
        )
        sources[backbone] = rate.source
    epochs = []
    for pack in packs(config):
        training = training_of(config, pack[0])
        if training["tokens"] == "online":
            continue
        count = training["epochs"]
        read = jobs.tokens_read(pack[0]) / count
        epochs.append(EpochPlan(tuple(pack), count, read, read / (read_gb_per_s * 1e9)))
    return TokenPlan(config["name"], rows, epochs, read_gb_per_s, sources)


def format_token_plan(plan: TokenPlan) -> str:
    """The plan as text."""
    shown = {row: _summary(row.variants) for row in plan.collections}
    width = max([10, *(len(text) + 1 for text in shown.values())])
    head = f"{'tokens of':<38}{'images':>9}  {'variants':<{width}}"
    head += f"{'stored':>9}{'GB':>9}{'files':>7}{'GPU h':>8}{'CPU h':>8}"
    lines = [f"{plan.name}: tokens", "", head]
    for row in plan.collections:
        lines.append(_line(f"{row.backbone} {row.collection}", f"{shown[row]:<{width}}", [row]))
    lines.append(_line("all", " " * width, plan.collections))
    rates = sorted(set(plan.rates.values()))
    lines += ["", f"Rates: {'; '.join(rates)}"]
    if plan.epochs:
        lines += ["", f"Reading in training, at {plan.read_gb_per_s:g} GB/s:"]
    for epoch in plan.epochs:
        names = (
            f"{epoch.ablations[0]} and {len(epoch.ablations) - 1} more" if epoch.ablations[1:] else epoch.ablations[0]
        )
        whole = f"{epoch.epochs} epochs {_time(epoch.seconds * epoch.epochs)}"
        lines.append(f"  {names:<36}{epoch.size / 1e9:>9.1f} GB an epoch, {_time(epoch.seconds)}; {whole}")
    return "\n".join(lines) + "\n"


def _summary(variants: Sequence[str]) -> str:
    named = [variant for variant in variants if parse(variant)[1] in ("", MIRRORED)]
    drawn = len(variants) - len(named)
    return ",".join([*named, *([f"{drawn} draws"] if drawn else [])])


def _line(name: str, variants: str, rows: Sequence[CollectionPlan]) -> str:
    images, stored = (sum(getattr(row, column) for row in rows) for column in ("images", "stored"))
    hours = [sum(row.seconds for row in rows if row.gpu is gpu) / 3600 for gpu in (True, False)]
    size, files = sum(row.size for row in rows) / 1e9, sum(row.files for row in rows)
    return f"{name:<38}{images:>9.0f}  {variants}{stored:>9.0f}{size:>9.1f}{files:>7}{hours[0]:>8.2f}{hours[1]:>8.2f}"


def _time(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


@dataclass(frozen=True)
class Fault:
    """A shard that must be made, and why."""

    path: Path
    reason: str


def find_faults(config: Config, layout: Layout, whole: bool = False) -> Iterator[Fault]:
    """The token shards of `config` that are missing, damaged or stale, in order.

    Args:
        config: checked and complete.
        layout: of its results.
        whole: also verify every image's tokens and the files that they come from, and compare with the backbones.
    """
    models: dict[str, Backbone] = {}
    for job in Jobs(config, layout).of("extract_tokens"):
        path = job.outputs[0]
        if not path.exists():
            progress = path.parent / ".progress" / path.stem
            yield Fault(path, "missing; a killed try left blocks to resume from" if progress.is_dir() else "missing")
            continue
        backbone, collection, shard = job.name.split("/")
        given = step_settings("extract_tokens", config, backbone=backbone, collection=collection, shard=shard)
        settings = ExtractTokens.parse(given)
        try:
            store = TokenStore([path])
            if store.attributes["backbone"] != backbone:
                yield Fault(path, f"tokens of backbone {store.attributes['backbone']}")
                continue
            if whole:
                models = models if backbone in models else {backbone: load_backbone(settings.backbone)}
                store.check_backbone(models[backbone])
                store.verify()
        except UserError as error:
            yield Fault(path, error.found)


def repair_command(faults: Sequence[Fault], overlays: Sequence[Path], cores: int) -> str:
    """The command that makes these shards. Existing ones are forced: to Snakemake, a recent file is up to date."""
    there = [str(fault.path) for fault in faults if fault.path.exists()]
    words = ["snakemake", "--cores", str(cores)]
    words += ["--configfile", *map(str, overlays)] if overlays else []
    words += ["--forcerun", *there] if there else []
    return shlex.join([*words, "--", *(str(fault.path) for fault in faults)])
