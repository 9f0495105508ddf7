"""Examples in docstrings give the output that they show."""

import doctest
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text()
)


def test_the_public_api_has_examples():
    assert {"nearid.heads.objectives", "nearid.heads.objectives.nearid"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_a_module(module):
    assert not doctest.testmod(importlib.import_module(module)).failed
