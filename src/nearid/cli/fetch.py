"""Commands that fetch downloads: besides scoring through an endpoint, only these use the network."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nearid.errors import UserError

_RESOURCES = click.option(
    "--resources", default="resources", show_default=True, type=click.Path(path_type=Path), help="Folder of downloads."
)


@click.group()
def fetch() -> None:
    """Fetch data sets and models into resources/, and check them."""


@fetch.command()
@click.option("--download", required=True, help="Id in the config's `downloads`.")
@click.option("--settings", metavar="JSON", help="Its entry; without it, the one in config.yaml.")
@_RESOURCES
@click.option("--mirror", type=click.Path(path_type=Path), help="Take it from <mirror>/<id> instead.")
def download(download: str, settings: str | None, resources: Path, mirror: Path | None) -> None:
    """Fetch one entry of `downloads` at its pinned revision, and check every file."""
    from nearid.config import load
    from nearid.io.downloads import fetch
    from nearid.io.mirror import Mirror

    entry = json.loads(settings) if settings else load()["downloads"][download]
    fetch(download, entry, resources / download, Mirror(mirror / download) if mirror else None)


@fetch.command()
@click.option("--download", multiple=True, help="Only this one (repeatable); without it, all that were fetched.")
@_RESOURCES
def verify(download: tuple[str, ...], resources: Path) -> None:
    """Hash every fetched file again, and compare with the hashes recorded at the fetch."""
    from nearid.io.downloads import MARK, verify

    names = list(download) or sorted(path.parent.name for path in resources.glob(f"*/{MARK}"))
    if not names:
        raise UserError(resources, "nothing that was fetched", f"<id>/{MARK}", "run the workflow, or fetch download")
    problems = []
    for name in names:
        try:
            click.echo(f"{name}: {verify(resources / name)} files as they were fetched")
        except UserError as error:
            click.echo(f"{name}: {error.where}: {error.found}")
            problems.append(error)
    if problems:
        raise problems[0]
