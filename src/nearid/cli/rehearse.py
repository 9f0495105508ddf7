"""`nearid rehearse`: every job of a config on small stand-ins, before GPU hours are spent."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nearid.errors import UserError


@click.command()
@click.argument("overlays", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--folder",
    default="rehearsal",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Everything is below <folder>/<name of the config>; on a cluster a file system that all nodes see.",
)
@click.option("--stand-in", "given", multiple=True, metavar="ID=FOLDER", help="A stand-in of your own for a download.")
@click.option("--snakemake", default="", help="More arguments of Snakemake, e.g. '--profile slurm'.")
@click.option("--profile", help="Snakemake's profile: `slurm` rehearses on the cluster itself.")
def rehearse(
    overlays: tuple[Path, ...], folder: Path, given: tuple[str, ...], snakemake: str, profile: str | None
) -> None:
    """Run every job of config.yaml with OVERLAYS on top, with the real rules, on small stand-ins of its downloads.

    At the end it lists jobs, time and memory per rule, rules that did not run, and empty cells with their reason.
    The exit code is 1 if a rule did not run or a cell is empty without a reason.
    """
    import shlex

    from nearid.rehearsal.run import rehearse

    stand_ins = {}
    for pair in given:
        name, _, path = pair.partition("=")
        if not Path(path).is_dir():
            raise UserError("--stand-in", repr(pair), "ID=FOLDER, a folder that is there", "correct it")
        stand_ins[name] = Path(path)
    arguments = [*(["--profile", profile] if profile else []), *shlex.split(snakemake)]
    report = rehearse(overlays, folder, arguments, stand_ins)
    click.echo(str(report))
    if not report.passed:
        sys.exit(1)
