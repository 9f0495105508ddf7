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
"""Regular expressions that the ids of a job match."""


@dataclass(frozen=True)
class Needs:
    """What the first attempt of a job requests.

    Attributes:
        memory_mb: host memory.
        minutes: time limit with a margin; at least what jobs of this kind have taken.
        gpus: how many.
        gpu_gb: GPU memory, for the weights and the largest forward pass together; 0 without a GPU.
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
    """A second rule of a step, for the jobs that make one more file (`output`); `when` says which these are."""

    rule: str
    output: Callable[[Files], Path]
    when: Callable[..., bool]


@dataclass(frozen=True)
class Step:
    """One step of the workflow, which runs as a job for each of its ids.

    Attributes:
        name: of its rule.
        stage: folder of its logs.
        job: a job's name, with its ids as wildcards.
        outputs: the files that a job makes, with its ids as wildcards.
        inputs: the files that a job with these ids reads, without downloads and files of the user.
        ancient: further inputs, which must exist but whose modification times do not count.
        reads: which paths in its settings are inputs: `downloads`, `own` files of the user.
        function: what its command runs, relative to `nearid`; its fingerprint begins there.
        formats: of the files that it reads or writes (`nearid.io.formats`).
        settings: what a job with these ids reads of the config.
        variant: its second rule.
        local: whether it runs where Snakemake runs, also with a cluster.
        needs: the least that a job requests; more according to its work (`nearid.workflow.needs`).
        rate, size: key of its rate (`nearid.workflow.rates`) and bytes written, where all jobs have the same.
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
