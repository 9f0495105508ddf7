"""Registering a sweep's finished heads with Snakemake."""

from __future__ import annotations

import subprocess
import sys

from nearid.errors import UserError
from nearid.sweeps.states import is_done
from nearid.sweeps.sweep import RULES, Sweep


def collect(sweep: Sweep) -> tuple[list[str], list[str]]:
    """Register the heads that are up to date with Snakemake; returns these, and the others, which are still to train.

    A head is up to date if its data, tokens, settings and code are the current ones (`inputs_hash`), which is what
    Snakemake would compare if it had trained the head itself.

    Raises:
        UserError: Snakemake could not record them.
    """
    from nearid.heads.training import is_trained

    done = [
        name
        for name in sweep.ablations
        if is_done(sweep, name) and is_trained(sweep.settings(name), sweep.layout, sweep.code(name))
    ]
    if done:
        heads = [str(sweep.layout.head_file(name)) for name in done]
        configs = ["--configfile", *map(str, sweep.overlays)]
        only = ["--touch", "--cores", "1", "--quiet", "all", "--allowed-rules", *RULES, "--forcerun", *heads]
        said = subprocess.run(
            [sys.executable, "-P", "-m", "snakemake", *only, *configs, "--", *heads], capture_output=True, text=True
        )
        if said.returncode:
            raise UserError(
                "snakemake --touch", said.stderr.strip()[-500:], "heads recorded", "correct it, collect again"
            )
    return done, [name for name in sweep.ablations if name not in done]
