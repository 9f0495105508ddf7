"""`snakemake --logger nearid`: what a person wants to see of a run (docs/terminal.md); all of it is in Snakemake's log.

Snakemake finds this package by its name. Where another output was asked for (a dry run, `--verbose`,
`--printshellcmds`, `--debug-dag`, `--quiet`), it is Snakemake's own.

Snakemake imports it at each start, before the Snakefile has said which copy of `nearid` is meant: it imports none.
"""

from __future__ import annotations

import logging
import os
import sys

from snakemake.logging import ColorizingTextHandler
from snakemake_interface_logger_plugins.base import LogHandlerBase

from snakemake_logger_plugin_nearid.account import Account
from snakemake_logger_plugin_nearid.chatter import Chatter

__all__ = ["LogHandler"]

# As `nearid.io.progress` reads it.
LISTENER = "NEARID_LISTENER"


class LogHandler(LogHandlerBase):
    """Passes Snakemake's events to an `Account` on stderr."""

    def __post_init__(self) -> None:
        asked = self.common_settings
        self._plain = bool(
            asked.dryrun or asked.verbose or asked.printshellcmds or asked.debug_dag or asked.quiet or asked.stdout
        )
        if self._plain:
            stream = sys.stdout if asked.stdout else sys.stderr
            self._snakemake = ColorizingTextHandler(nocolor=asked.nocolor, stream=stream)
            return
        # Of all that is logged: the file is read too.
        logging.getLogger("snakemake.logging").addFilter(Chatter())
        # Steps that would write to this terminal write to their log files alone.
        behind = os.fstat(2)
        os.environ[LISTENER] = f"{behind.st_dev}:{behind.st_ino}"
        # Cursor control is for terminals that say which they are.
        live = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._account = Account(sys.stderr, live, _find_log)

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one event."""
        if self._plain:
            self._snakemake.setFormatter(self.formatter)
            self._snakemake.emit(record)
            return
        try:
            self._account.hear(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Tell how it ended."""
        if not self._plain:
            self._account.end()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """It takes the place of Snakemake's own lines."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake writes the file."""
        return False

    @property
    def has_filter(self) -> bool:
        """Whether Snakemake's own filter is not wanted."""
        return not self._plain

    @property
    def has_formatter(self) -> bool:
        """Whether Snakemake's own lines are not wanted."""
        return not self._plain

    @property
    def needs_rulegraph(self) -> bool:
        """It knows the stages by the rules' files."""
        return False


def _find_log() -> str:
    """The file in which Snakemake writes all of it; "" before there is one."""
    handlers = logging.getLogger("snakemake.logging").handlers
    names = [handler.baseFilename for handler in handlers if isinstance(handler, logging.FileHandler)]
    return names[0] if names else ""
