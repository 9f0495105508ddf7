"""The command line: one group per stage, one command per rule, so that every step can be run by hand."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import click

from nearid import __version__
from nearid.cli.failures import explain_fault
from nearid.distributed.devices import explain_full_gpu
from nearid.distributed.signals import Stopped, stoppable
from nearid.errors import UserError
from nearid.io import progress
from nearid.io.progress import LISTENER, HarmlessStream, log_to_stderr

STAGES = ("data", "distractors", "tokens", "heads", "scores", "paper")
# Errors of the operating system that the user can mend: what was found, expected, and what to do.
_REFUSALS = {
    errno.EROFS: ("a read-only file system", "a folder that can be written", "choose another `results_dir`"),
    errno.EACCES: (
        "no permission",
        "files that you may read, and results that you may write",
        "correct the permissions, or choose another folder",
    ),
    errno.EPERM: (
        "no permission",
        "files that you may read, and results that you may write",
        "correct the permissions, or choose another folder",
    ),
    errno.ENOSPC: ("no space left on the disk", "room for the results", "free some space and run it again"),
    errno.EFBIG: ("a file that may not grow any more", "larger files allowed", "raise `ulimit -f` and run it again"),
    errno.EDQUOT: ("the disk quota is used up", "room for the results", "free some space and run it again"),
}


class _Commands(click.Group):
    """Imports a group's module when it is used, and reports problems so that a person can correct them."""

    def invoke(self, ctx: click.Context) -> object:
        # Here and not in main(): the log file of --log is still open, so the message is written to it too.
        try:
            return super().invoke(ctx)
        except UserError as error:
            problem = error
        except OSError as error:
            if error.errno not in _REFUSALS:
                return _crash(error, ctx)
            place = error.filename2 or error.filename or "the results folder"
            problem = UserError(place, *_REFUSALS[error.errno])
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "nearid":
                return _crash(error, ctx)
            place = f"the Python of {sys.prefix} on {socket.gethostname()}"
            action = "run `make setup` where this machine sees it, then `nearid doctor`"
            problem = UserError(place, f"no module {error.name}", "the packages of envs/all.lock", action)
        except Stopped:
            if LISTENER in os.environ:
                click.echo("interrupted", err=True)  # in the log, from which the run knows why the job ended
            raise
        except KeyboardInterrupt:
            # click would print it after the log file is closed.
            click.echo("interrupted", err=True)
            sys.exit(128 + signal.SIGINT)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            full = explain_full_gpu(error)
            if full is None:
                return _crash(error, ctx)
            problem = full
        click.echo(problem, err=True)
        sys.exit(2)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*STAGES, "accept", "bench", "config", "doctor", "export", "fetch", "plan", "rehearse", "score", "sweep"]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        return getattr(importlib.import_module(f"nearid.cli.{name}"), name)


@click.group(cls=_Commands, context_settings={"max_content_width": 120})
@click.version_option(__version__)
@click.option("--log", type=click.Path(path_type=Path), help="Also write progress, warnings and errors to this file.")
@click.pass_context
def nearid(ctx: click.Context, log: Path | None) -> None:
    """NearID, reproduced: the steps of the workflow, one command each."""
    if log:
        ctx.with_resource(progress.logging_to(log))


def main() -> None:
    """Run the command line; a problem that the user can correct gives four lines and exit code 2, not a traceback."""
    sys.stderr = HarmlessStream(sys.stderr)  # type: ignore[assignment]
    if sys.stdout is not None and sys.stdout.isatty():  # what goes to a file stays as it is
        sys.stdout = HarmlessStream(sys.stdout)  # type: ignore[assignment]
    log_to_stderr()
    with stoppable():
        nearid()


def _crash(error: BaseException, ctx: click.Context) -> NoReturn:
    click.echo(explain_fault(error, ctx.params.get("log")), err=True)
    sys.exit(1)
