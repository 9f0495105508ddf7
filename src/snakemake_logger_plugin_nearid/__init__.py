"""`snakemake --logger nearid`: what a person wants to see of a run (docs/terminal.md); Snakemake's log file has it all.

Snakemake finds this package by its name. If another output was requested (a dry run, `--verbose`, `--printshellcmds`,
`--debug-dag`, `--quiet`), the output is Snakemake's own.

It does not import `nearid`, since Snakemake imports it at each start, before the Snakefile says which copy to use.
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

# The name that `nearid.io.progress` reads.
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
        # On the logger, not on this handler: it filters the log file too.
        logging.getLogger("snakemake.logging").addFilter(Chatter())
        # Steps whose stderr is this terminal then write only to their log files.
        behind = os.fstat(2)
        os.environ[LISTENER] = f"{behind.st_dev}:{behind.st_ino}"
        # Only terminals that name their type understand cursor control.
        live = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._account = Account(sys.stderr, live, _find_log)

    def emit(self, record: logging.LogRecord) -> None:
        """Report one event."""
        if self._plain:
            self._snakemake.setFormatter(self.formatter)
            self._snakemake.emit(record)
            return
        try:
            self._account.hear(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Report how the run ended."""
        if not self._plain:
            self._account.end()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """True: it replaces Snakemake's own lines."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """False: Snakemake writes the log file."""
        return False

    @property
    def has_filter(self) -> bool:
        """True if Snakemake's own filter must not be used."""
        return not self._plain

    @property
    def has_formatter(self) -> bool:
        """True if Snakemake's own format must not be used."""
        return not self._plain

    @property
    def needs_rulegraph(self) -> bool:
        """False: the stage of a rule is the name of its file."""
        return False


def _find_log() -> str:
    """Snakemake's log file; "" before there is one."""
    handlers = logging.getLogger("snakemake.logging").handlers
    names = [handler.baseFilename for handler in handlers if isinstance(handler, logging.FileHandler)]
    return names[0] if names else ""
