"""`nearid doctor`: checks before a long run."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click


@click.command()
@click.argument("overlays", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--cluster", is_flag=True, help="Also check SLURM as slurm/config.yaml uses it, with a page for its help desk."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(overlays: tuple[Path, ...], cluster: bool, as_json: bool) -> None:
    """Check machine, environment, folders and hub for config.yaml with OVERLAYS on top.

    With --cluster a page for the cluster's help desk follows: what is requested, offered and missing.

    The exit code is 1 if anything found would make a run fail.
    """
    from nearid.config import load, results_folder
    from nearid.doctor.checks import examine, format_findings
    from nearid.doctor.help_desk import format_page
    from nearid.layout import Layout

    config = load(*overlays)
    findings = examine(config, Layout(results_folder(config)), cluster)
    click.echo(
        json.dumps([asdict(one) for one in findings], indent=2) if as_json else format_findings(findings), nl=as_json
    )
    if cluster and not as_json:
        click.echo(
            "\n" + format_page(config, Layout(results_folder(config)), Path("slurm/config.yaml"), findings), nl=False
        )
    if any(finding.level == "fault" for finding in findings):
        sys.exit(1)
