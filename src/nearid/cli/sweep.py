"""`nearid sweep`: many heads as jobs of their own."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

import click

from nearid.errors import UserError
from nearid.io.yaml_files import parse_yaml

_folder = click.argument("folder", type=click.Path(path_type=Path))


@click.group()
def sweep() -> None:
    """Train many heads as submitit jobs (docs/sweeps.md); a later run of Snakemake finds them trained."""


@sweep.command()
@click.argument("name")
@click.option("--config", "overlays", multiple=True, type=click.Path(path_type=Path), help="Overlay on config.yaml.")
@click.option("--ablation", "ablations", multiple=True, help="To vary (repeatable); by default all selected ones.")
@click.option("--seed", "seeds", multiple=True, type=int, help="Seed of the heads (repeatable).")
@click.option(
    "--set", "overrides", multiple=True, metavar="PATH=A,B", help="Values, e.g. training.learning_rate=1e-3,3e-3"
)
@click.option("--executor", type=click.Choice(["slurm", "local"]), default="slurm", show_default=True)
@click.option("--partition", default="")
@click.option("--account", default="")
@click.option(
    "--minutes", default=720, show_default=True, help="Time limit; a job that reaches it is requeued and resumes."
)
@click.option("--memory-gb", default=16, show_default=True)
@click.option("--threads", default=8, show_default=True, help="Cores of a job, per rank.")
@click.option("--gpus", default=0, show_default=True, help="GPUs of a job.")
@click.option("--ranks", default=1, show_default=True, help="Processes of a job (SLURM).")
@click.option("--parallel", default=64, show_default=True, help="Jobs at the same time.")
@click.option("--sbatch", "extra", multiple=True, metavar="OPTION=VALUE", help="Another option of sbatch.")
def run(
    name: str,
    overlays: tuple[Path, ...],
    ablations: tuple[str, ...],
    seeds: tuple[int, ...],
    overrides: tuple[str, ...],
    extra: tuple[str, ...],
    **needs: Any,
) -> None:
    """Submit the heads of sweep NAME that are neither done nor in the queue; call it again to resume after a cancel."""
    from nearid.sweeps.plan import plan_sweep
    from nearid.sweeps.submission import JobRequest, submit

    values = {path: [_value(one) for one in text.split(",")] for path, text in map(_split, overrides)}
    own = plan_sweep(name, overlays, ablations, seeds, values)
    submitted = submit(own, JobRequest(**needs, extra=dict(map(_split, extra))))
    click.echo(f"{len(submitted)} of {len(own.ablations)} runs submitted: {own.folder}")


@sweep.command()
@_folder
@click.option("--watch", type=float, metavar="SECONDS", help="Show it again after each SECONDS, until nothing runs.")
def status(folder: Path, watch: float | None) -> None:
    """State, step, loss and time left of each run."""
    from nearid.sweeps.states import UNDER_WAY
    from nearid.sweeps.status import read_progress
    from nearid.sweeps.sweep import open_sweep

    own = open_sweep(folder)
    while True:
        rows = read_progress(own)
        width = max(len(row.ablation) for row in rows)
        click.echo(f"{'run':<{width}}  {'state':<12}{'step':>13}{'loss':>10}  left")
        for row in rows:
            step = f"{row.step}/{row.steps or '?'}" if row.step else ""
            loss = "" if row.loss is None else f"{row.loss:.4f}"
            left = "" if row.left_s is None else f"{row.left_s:.0f} s"
            click.echo(f"{row.ablation:<{width}}  {row.state:<12}{step:>13}{loss:>10}  {left}")
        if watch is None or not any(row.state in UNDER_WAY for row in rows):
            return
        time.sleep(watch)
        click.clear()


@sweep.command()
@_folder
def cancel(folder: Path) -> None:
    """Cancel the waiting and running jobs; the states of their heads are kept."""
    from nearid.sweeps.submission import cancel
    from nearid.sweeps.sweep import open_sweep

    click.echo(f"{len(cancel(open_sweep(folder)))} runs cancelled")


@sweep.command()
@_folder
def collect(folder: Path) -> None:
    """Register the heads that are up to date with Snakemake, and print the command that scores them."""
    from nearid.sweeps.collection import collect
    from nearid.sweeps.sweep import open_sweep

    own = open_sweep(folder)
    done, open_ = collect(own)
    click.echo(
        f"{len(done)} of {len(own.ablations)} heads recorded" + (f"; not done: {', '.join(open_)}" if open_ else "")
    )
    click.echo(f"next: snakemake --configfile {shlex.join(map(str, own.overlays))}")


def _split(text: str) -> tuple[str, str]:
    path, found, value = text.partition("=")
    if not found:
        raise UserError("--set or --sbatch", text, "NAME=VALUE", "add `=` and a value")
    return path, value


def _value(text: str) -> Any:
    try:
        return float(text) if not text.lstrip("-").isdigit() else int(text)
    except ValueError:
        return parse_yaml(text, "--set", "a value: a number, true, false or text")
