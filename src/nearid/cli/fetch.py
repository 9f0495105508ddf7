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
def download(download: str, settings: str | None, resources: Path) -> None:
    """Fetch one entry of `downloads` at its pinned revision, and check every file."""
    from nearid.config import load
    from nearid.io.hub import HuggingFace, fetch

    entry = json.loads(settings) if settings else load()["downloads"][download]
    fetch(download, entry, resources / download, HuggingFace())
