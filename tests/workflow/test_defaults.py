"""The two tables about the full run: defaults compared with the paper, and decisions with setting and effect."""

import functools
import re
from pathlib import Path

import pytest
import yaml

from nearid.config import load
from nearid.config.documentation import document

DOCS = Path(__file__).resolve().parents[2] / "docs"
full_run = functools.cache(load)


def rows_of(page):
    """Cells of the page's first table, without its header."""
    lines = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


DEFAULTS = rows_of("defaults.md")
CATALOGUES = ("sources", "backbones", "mixes", "ablations", "scorers", "groups", "downloads")


@pytest.mark.parametrize("row", DEFAULTS, ids=[row[0] for row in DEFAULTS])
def test_defaults_are_those_of_the_config(row):
    key, value, says, where = row
    found = full_run()
    for part in key.strip("`").split("."):
        found = found[part]
    assert found == yaml.safe_load(value.strip("`"))
    assert says and where


def test_every_decision_has_a_setting_a_default_and_an_effect():
    decisions = rows_of("decisions.md")
    assert len(decisions) > 40
    for topic, *cells in decisions:
        assert len(cells) == 4 and all(cells), topic
        _, setting, _, effect = cells
        measured = re.search(r"\d", effect) or "equal to" in effect or "both are in" in effect
        assert measured or re.match("none|not measured", effect), f"{topic}: a number, none, or not measured"
        keys = re.findall(r"`([a-z0-9_.<>]+)`", setting)
        assert keys or setting.startswith("none"), f"{topic}: a key of the config, or none"
        for key in keys:
            assert is_known(key), f"{topic}: {key} is no key of the config"


def is_known(key):
    """Whether the config has a dotted key; ids of catalogues may be any word or `<id>`."""
    below = {row.split("`")[1] for row in document().splitlines() if row.startswith("| `")}
    pattern = re.compile("|".join(re.escape(known).replace("<id>", r"[a-z0-9_<>]+") for known in below))
    return pattern.fullmatch(key) or any(re.fullmatch(rf"{re.escape(each)}\.[a-z0-9_<>]+", key) for each in CATALOGUES)
