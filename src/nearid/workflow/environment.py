"""The environment that every rule's command sets first."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

OFFLINE = "HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1"
# A rule's threads decode images. Arithmetic stays on one thread whatever a profile says: more would give other bits.
SUMS = "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1"


def export_line(source: Path, own_python: bool) -> str:
    """Shell line that sets the environment; braces are doubled, since Snakemake formats it.

    The package is imported from this checkout, and only fetch_download may ask the hub. Modules are never imported from
    the working directory, where a file may be called `yaml.py`.

    Args:
        source: folder of the package.
        own_python: whether rules use the Python that runs Snakemake; false if they have environments of their own.
    """
    paths = f"PYTHONPATH={shlex.quote(str(source))} PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1"
    python = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH" if own_python else ""
    return f"export {paths} {OFFLINE} {SUMS} {python}; ".replace("{", "{{").replace("}", "}}")
