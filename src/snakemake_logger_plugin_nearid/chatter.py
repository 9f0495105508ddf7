"""Keeps lines of Snakemake and its plugins that are useless or wrong out of terminal and log file."""

from __future__ import annotations

import logging
import re

# Once per run: Snakemake repeats it whenever a job could start but may not yet.
ONCE = ("Job rate limit reached",)
# The SLURM plugin says so if no account is given, even if it was told to use none; sbatch then uses the user's default
# account, and reports if there is none. An array has a single comment, which nobody reads.
NEVER = (
    "No SLURM account given, trying to guess",
    "No account was given, not able to get a SLURM account via sacct",
    "Unable to guess SLURM account",
    "Array job submission does not allow for multiple different wildcard combinations",
)
RELIABLE = re.compile(r"MinJobAge \d+s .*'squeue' should work reliably")


class Chatter(logging.Filter):
    """A filter for Snakemake's logger."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to keep the line."""
        text = str(record.msg)
        if text.startswith(NEVER) or RELIABLE.match(text):
            return False
        if text.startswith(ONCE):
            known = text in self._said
            self._said.add(text)
            return not known
        return True
