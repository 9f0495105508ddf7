"""What every rule's command starts with."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

OFFLINE = "HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1"
# A rule's threads decode images. Sums stay on one, which a profile's threads must not change: others give other bits.
SUMS = "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1"


def export_line(source: Path, own_python: bool) -> str:
    """A shell's line that sets the environment; braces are doubled, since Snakemake fills them in.

    The package is that of this checkout, and only fetch_download may ask the hub. Modules are looked for in no working
    directory: a `yaml.py` there is a file like any other.

    Args:
        source: folder of the package.
        own_python: whether the Python is the one that runs here; not where rules have environments of their own.
    """
    paths = f"PYTHONPATH={shlex.quote(str(source))} PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1"
    python = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH" if own_python else ""
    return f"export {paths} {OFFLINE} {SUMS} {python}; ".replace("{", "{{").replace("}", "}}")
