"""SECURITY.md names existing tests, and what it says about variables in a config is true."""

import re
from pathlib import Path

import pytest

from nearid.config import complete, load
from nearid.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)


def test_every_line_is_held_by_a_test_that_exists():
    assert len(NAMED) > 20
    for file, test in NAMED:
        text = (ROOT / file).read_text()
        assert not test or re.search(rf"^def {test}\(", text, re.MULTILINE), f"{file}::{test}"
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "held by" not in line]
    assert rows and all("`tests/" in row for row in rows)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PATH", "OPENAI_API_KEY\n", "x_API_KEY", ""])
def test_no_other_variable_than_a_key_is_sent(name):
    config = load("config/demo.yaml")
    judge = {"display": "J", "kind": "vlm_judge", "endpoint": "http://localhost/v1", "served_model": "m"}
    complete(config | {"scorers": config["scorers"] | {"judge": judge | {"api_key_env": "MY_API_KEY"}}})
    with pytest.raises(UserError, match="api_key_env"):
        complete(config | {"scorers": config["scorers"] | {"judge": judge | {"api_key_env": name}}})
