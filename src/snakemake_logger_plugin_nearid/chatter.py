"""Lines of Snakemake and its plugins that say nothing, or what is not so, kept out of terminal and log file."""

from __future__ import annotations

import logging
import re

# Once a run: Snakemake repeats it each time that a job could start and may not yet.
ONCE = ("Job rate limit reached",)
# The SLURM plugin says so where no account was named, whether or not it was told to use none; sbatch then takes the
# user's default account, and tells where there is none. An array has one comment, which nobody reads.
NEVER = (
    "No SLURM account given, trying to guess",
    "No account was given, not able to get a SLURM account via sacct",
    "Unable to guess SLURM account",
    "Array job submission does not allow for multiple different wildcard combinations",
)
RELIABLE = re.compile(r"MinJobAge \d+s .*'squeue' should work reliably")


class Chatter(logging.Filter):
    """A filter of Snakemake's logger."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is worth a reader's time."""
        text = str(record.msg)
        if text.startswith(NEVER) or RELIABLE.match(text):
            return False
        if text.startswith(ONCE):
            known = text in self._said
            self._said.add(text)
            return not known
        return True
