"""Commands about the config itself."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group()
def config() -> None:
    """Check and document the config."""


@config.command()
@click.argument("overlays", nargs=-1, type=click.Path(path_type=Path))
def check(overlays: tuple[Path, ...]) -> None:
    """Validate config.yaml with OVERLAYS on top: members, files and folders that it names, and sizes of splits."""
    from nearid.config import check_members, check_paths, check_sizes, load

    values = load(*overlays)
    check_members(values)
    check_sizes(values)
    check_paths(values)
    click.echo(f"{values['name']}: fine")


@config.command()
@click.argument("overlays", nargs=-1, type=click.Path(path_type=Path))
def show(overlays: tuple[Path, ...]) -> None:
    """Print config.yaml with OVERLAYS on top and all defaults filled in, as JSON."""
    from nearid.config import load

    click.echo(json.dumps(load(*overlays), indent=2, sort_keys=True))


@config.command()
def readme() -> None:
    """Print config/README.md, made from the models of the config."""
    from nearid.config.documentation import document

    click.echo(document(), nl=False)


@config.command()
def schema() -> None:
    """Print config/schema.json, with which editors check and complete a config."""
    from nearid.config.documentation import json_schema

    click.echo(json_schema(), nl=False)
