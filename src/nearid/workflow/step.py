"""What a step of the workflow is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearid.config.types import Config, Ids
from nearid.workflow.files import Files

WILDCARDS = {
    **dict.fromkeys(
        ("source", "backbone", "collection", "ablation", "scorer", "table", "figure", "download"), "[a-z0-9_]+"
    ),
    "split": "train|test",
    "form": "siglip|release",
    "shard": r"\d{3}",
    "part": r"\d+",
    "parts": r"\d+",
}
"""What the ids of a job look like, as regular expressions."""


@dataclass(frozen=True)
class Needs:
    """What the first attempt of a job asks for.

    Attributes:
        memory_mb: of the machine's own memory.
        minutes: a limit, with room; never less than what its kind of job has taken.
        gpus: how many.
        gpu_gb: of the GPU's memory, weights and the largest pass together; 0 without a GPU.
    """

    memory_mb: int
    minutes: int
    gpus: int = 0
    gpu_gb: int = 0


def nothing(files: Files, **ids: str) -> list[Path]:
    """No files."""
    return []


@dataclass(frozen=True)
class Variant:
    """A second rule of a step, for jobs that leave one file more: `output`, `when` it is so."""

    rule: str
    output: Callable[[Files], Path]
    when: Callable[..., bool]


@dataclass(frozen=True)
class Step:
    """One step of the workflow, which runs as a job for each of its ids.

    Attributes:
        name: of its rule.
        stage: folder of its log.
        job: a job's name, with its ids as wildcards.
        outputs: what a job leaves, with its ids as wildcards.
        inputs: what a job of these ids reads, beside downloads and files of the user.
        ancient: what of it counts by being there, and not by its time.
        reads: which paths in its settings are inputs: `downloads`, `own` files of the user.
        function: what its command runs, below `nearid`: where its fingerprint begins.
        formats: of the files that it reads or writes (`nearid.io.formats`).
        settings: what it reads of the config for a job's ids.
        variant: its other rule.
        local: whether it runs where Snakemake runs, also with a cluster.
        needs: what a job asks for at least; more by the work that it has (`nearid.workflow.needs`).
        rate, size: key of its seconds (`nearid.workflow.rates`) and bytes written, where all jobs have the same.
    """

    name: str
    stage: str
    outputs: Callable[[Files], Iterable[Path]]
    inputs: Callable[..., Iterable[Path]] = nothing
    job: str = "all"
    ancient: Callable[..., Iterable[Path]] = nothing
    reads: tuple[str, ...] = ()
    function: str = ""
    formats: tuple[str, ...] = ()
    settings: Callable[[Config, Ids], Any] = lambda config, ids: {}
    variant: Variant | None = None
    local: bool = False
    needs: Needs = Needs(1000, 10)
    rate: str = "table"
    size: float = 1e4
