"""The overlays of config/ run to their pages on stand-ins; config.yaml itself is CI's `make rehearsal`."""

from pathlib import Path

import pytest

from nearid.rehearsal.run import rehearse

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.parametrize(
    "overlays",
    [
        ["config/ratings.yaml"],
        ["config/released.yaml", "config/calibrate.yaml", "tests/rehearsal/one_released.yaml"],
        ["config/augmented.yaml", "tests/rehearsal/one_source.yaml"],
        ["config/released.yaml", "config/plain.yaml", "tests/rehearsal/one_source.yaml"],
    ],
    ids=["ratings", "calibrate", "augmented", "released_plain"],
)
def test_an_overlay_is_rehearsed_to_its_page(overlays, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    report = rehearse([Path(path) for path in overlays], tmp_path)
    assert report.passed, str(report)
    name = report.name.removeprefix("rehearsal_")
    page = (tmp_path / name / "results" / report.name / "paper/index.html").read_text()
    assert "A dress rehearsal" in page
