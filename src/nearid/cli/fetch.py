"""Commands that touch the network, the only ones."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group()
def fetch() -> None:
    """Bring a data set or a model to resources/ (the only commands that use the network)."""


@fetch.command()
@click.option("--download", required=True, help="Id in the config's `downloads`.")
@click.option("--settings", metavar="JSON", help="Its entry; without it, the one in config.yaml.")
@click.option("--resources", default="resources", show_default=True, type=click.Path(path_type=Path))
@click.option(
    "--mirror", type=click.Path(path_type=Path), help="Folder that plays the hub, with files in <mirror>/<id>."
)
def download(download: str, settings: str | None, resources: Path, mirror: Path | None) -> None:
    """Fetch one entry of `downloads` at its pinned revision, and check every file."""
    from nearid.config import load
    from nearid.io.hub import HuggingFace, fetch
    from nearid.io.mirror import Mirror

    entry = json.loads(settings) if settings else load()["downloads"][download]
    fetch(download, entry, resources / download, Mirror(mirror / download) if mirror else HuggingFace())
