"""Settings made from the config fit the types that the steps take."""

import pytest

from nearid.config import load, step_settings
from nearid.config.settings import paper

CONFIGS = [
    (),
    ("config/released.yaml", "config/calibrate.yaml"),
    ("config/ratings.yaml",),
    ("config/sensitivity.yaml",),
    ("config/demo.yaml",),
    ("config/demo.yaml", "config/test.yaml"),
]


@pytest.mark.parametrize("overlays", CONFIGS, ids=lambda overlays: "+".join(overlays) or "config.yaml")
def test_what_the_config_says_is_what_the_steps_take(overlays):
    config = load(*overlays)
    jobs = [(paper.MakeTable, {"table": table}) for table in config["select"]["tables"]]
    for figure in config["select"]["figures"]:
        jobs += [(paper.ComputeFigure, {"figure": figure}), (paper.PlotFigure, {"figure": figure})]
    jobs += [(paper.CompareWithPaper, {}), (paper.ShowIdentities, {}), (paper.MakePage, {}), (paper.WriteSummary, {})]
    for kind, ids in jobs:
        step = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__)[1:]
        given = step_settings(step, config, **ids)
        assert kind.parse(given).given == given
