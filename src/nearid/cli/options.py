"""Options that the commands of all steps share: the results folder and the settings."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nearid.config.downloads import FOLDER, named_downloads
from nearid.errors import UserError
from nearid.io.downloads import check_fetched
from nearid.layout import Layout
from nearid.workflow import run_lock

if TYPE_CHECKING:
    from nearid.config.settings import Settings

Command = Callable[..., Any]


def step(name: str, kind: type[Settings]) -> Callable[[Command], Command]:
    """Give a command `--results`, `--settings` and `--config`, and call it with `layout` and `settings` of this `kind`.

    A rule passes `--results DIR --settings JSON`. A person gives `--config config/demo.yaml` instead (repeatable, on
    top of `config.yaml`); both then follow from the config, by `nearid.config.step_settings(name, config, **ids)`,
    where `ids` are the command's other options. Put it below the command's own options:

        @distractors.command()
        @click.option("--source", required=True)
        @click.option("--shard", required=True)
        @step("inpaint_shard", InpaintShard)
        def inpaint(layout: Layout, settings: InpaintShard, source: str, shard: str) -> None: ...
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(results: Path | None, settings: str | None, config: tuple[Path, ...], **ids: Any) -> Any:
            layout, values = resolve(name, results, settings, config, ids)
            run_lock.share(layout.root)
            # Files may have changed since they were fetched and hashed. Painting gets the data set's settings but does
            # not read its files, and to check a hundred thousand pictures would cost each of its jobs seconds.
            for download in named_downloads({key: value for key, value in values.items() if key != "dataset"}):
                check_fetched(Path(FOLDER) / download)
            return command(layout=layout, settings=kind.parse(values), **ids)

        options = (
            click.option("--results", type=click.Path(path_type=Path), help="The folder results/<name>."),
            click.option("--settings", metavar="JSON", help="This step's settings, as its rule passes them."),
            click.option(
                "--config",
                multiple=True,
                type=click.Path(path_type=Path),
                help="Overlay on config.yaml, instead of --settings (repeatable).",
            ),
        )
        for option in reversed(options):
            run = option(run)
        run.settings = kind  # type: ignore[attr-defined]  # for a test that parses the settings of all configs
        return run

    return decorate


def resolve(
    name: str, results: Path | None, settings: str | None, overlays: tuple[Path, ...], ids: dict[str, Any]
) -> tuple[Layout, dict[str, Any]]:
    """Layout and settings of the step `name`, from the arguments of its command (see `step`)."""
    if settings is not None and overlays:
        raise UserError(f"nearid, step {name}", "both --settings and --config", "one of them", "leave one out")
    if settings is not None:
        if results is None:
            raise UserError(f"nearid, step {name}", "no --results", "--results results/<name>", "add it")
        try:
            return Layout(results), json.loads(settings)
        except json.JSONDecodeError as error:
            raise UserError("--settings", f"no JSON ({error})", "a JSON object", "see the rule's params") from error
    from nearid.config import load, results_folder, step_settings

    config = load(*overlays)
    return Layout(results or results_folder(config)), step_settings(name, config, **ids)
