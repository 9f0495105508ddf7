"""Fingerprints are cached for cluster jobs, and never survive an edit of the package."""

import json

import pytest

from nearid.config import kept as module
from nearid.config.kept import Kept


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "package"
    (folder / "paper/templates").mkdir(parents=True)
    for name in ("__init__.py", "paper/page.py", "paper/numbers.json", "paper/templates/page.j2"):
        (folder / name).write_text("1")
    monkeypatch.setattr(module, "PACKAGE", folder)
    return folder


def unasked():
    raise AssertionError("it is kept")


def test_what_was_found_is_found_by_the_next(package, tmp_path):
    first = Kept(tmp_path / "records/kept.json")
    assert first.get("a", lambda: "1234") == "1234"
    first.save()
    assert Kept(tmp_path / "records/kept.json").get("a", unasked) == "1234"


@pytest.mark.parametrize("edited", ["__init__.py", "paper/page.py", "paper/numbers.json", "paper/templates/page.j2"])
def test_an_edit_of_any_file_forgets_all(package, tmp_path, edited):
    first = Kept(tmp_path / "kept.json")
    first.get("a", lambda: "1234")
    first.save()
    (package / edited).write_text("2")  # the same length, and perhaps the same time
    assert Kept(tmp_path / "kept.json").get("a", lambda: "5678") == "5678"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"package": "x", "found": 1}', "{cut off"])
def test_a_damaged_file_counts_as_empty(package, tmp_path, content):
    (tmp_path / "kept.json").write_text(content)
    assert Kept(tmp_path / "kept.json").get("a", lambda: "1234") == "1234"


def test_where_nothing_can_be_written_it_is_found_again(package, tmp_path):
    (tmp_path / "records").write_text("a file where the folder should be")
    kept = Kept(tmp_path / "records/kept.json")
    kept.get("a", lambda: "1234")
    kept.save()
    assert kept.get("a", unasked) == "1234"


def test_a_run_keeps_them(finished):
    """test_reruns.py shows that an edit is noticed all the same."""
    assert json.loads((finished / ".snakemake/nearid_fingerprints.json").read_text())["found"]
