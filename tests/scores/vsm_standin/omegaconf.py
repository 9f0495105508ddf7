"""Stand-in: reads the YAML that the real package reads with OmegaConf."""

from types import SimpleNamespace

import yaml


class OmegaConf:
    """As much of OmegaConf as is used."""

    @staticmethod
    def load(path):
        content = yaml.safe_load(open(path))  # noqa: SIM115, PTH123
        return SimpleNamespace(dtype=content["dtype"], model=SimpleNamespace(**content["model"]))
