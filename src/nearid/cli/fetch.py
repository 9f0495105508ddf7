"""Commands that touch the network, the only ones."""

from __future__ import annotations

import click

from nearid.errors import UserError


@click.group()
def fetch() -> None:
    """Bring a data set or a model to resources/ (the only commands that use the network)."""


@fetch.command()
@click.option("--download", required=True, help="Id in the config's `downloads`.")
@click.option("--settings", required=True, metavar="JSON", help="Its entry.")
def download(download: str, settings: str) -> None:
    """Fetch one entry of `downloads` at its pinned revision."""
    raise UserError(
        f"downloads.{download}",
        "fetching is not implemented yet (it comes with the sources and scorers that need it)",
        f"resources/{download}/ filled by hand, with a fetched.json saying repository and revision",
        "put the files there, or run config/demo.yaml, which needs no download",
    )
