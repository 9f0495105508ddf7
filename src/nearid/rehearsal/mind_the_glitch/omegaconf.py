"""Stand-in of the package OmegaConf, which the checkout's requirements name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import yaml


class OmegaConf:
    """The part of it that is used."""

    @staticmethod
    def load(path: str | Path) -> SimpleNamespace:
        """The mapping in a YAML file, as attributes."""
        content = yaml.safe_load(Path(path).read_text())
        return SimpleNamespace(dtype=content["dtype"], model=SimpleNamespace(**content["model"]))
