"""`nearid plan`: what a run will take."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command()
@click.argument("overlays", nargs=-1, type=click.Path(path_type=Path))
@click.option("--settings", metavar="JSON", help="The whole config, as the rule passes it.")
@click.option("--gpus", default=1, show_default=True, type=click.IntRange(min=0), help="GPUs at the same time.")
@click.option("--cores", default=0, help="CPU cores at the same time; those of this machine by default.")
@click.option("--quota-gb", type=float, help="What you may still write, where a quota is tighter than the disk.")
@click.option("--gpu-gb", type=float, help="Memory of the GPUs at hand: tells what needs more, and what would help.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(
    overlays: tuple[Path, ...],
    settings: str | None,
    gpus: int,
    cores: int,
    quota_gb: float | None,
    gpu_gb: float | None,
    as_json: bool,
) -> None:
    """What is left to do for config.yaml with OVERLAYS on top: jobs (SLURM: submissions), GPU hours, disk, time."""
    from nearid.config import leave_out_missing, load, results_folder
    from nearid.layout import Layout
    from nearid.planning.plan import format_plan, make_plan

    config = json.loads(settings) if settings else load(*overlays)
    if config["on_missing"] == "gap":
        leave_out_missing(config)
    made = make_plan(config, Layout(results_folder(config)), gpus, cores, quota_gb, gpu_gb)
    click.echo(json.dumps(asdict(made), indent=2) if as_json else format_plan(made), nl=as_json)
