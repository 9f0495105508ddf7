"""docs/own_images.md, step by step as it stands there."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from nearid.cli import nearid as command

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/own_images.md").read_text()


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    rng = np.random.default_rng(0)
    for subject in ("red_mug", "blue_mug"):
        for view in range(3):
            ground = np.full((96, 96, 3), rng.integers(60, 200, 3), np.uint8)
            image = Image.fromarray(ground + rng.integers(0, 20, ground.shape, np.uint8))
            box = (30 + 4 * view, 28, 66 + 4 * view, 68)
            ImageDraw.Draw(image).ellipse(box, fill=(220, 20, 20) if subject == "red_mug" else (20, 20, 220))
            (tmp_path / "things" / subject).mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / "things" / subject / f"{view}.png")
    overlay = tmp_path / "things.yaml"
    text = next(block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "photos_dir" in block)
    text = text.replace("photos_dir: things", f"photos_dir: {tmp_path / 'things'}\nresults_dir: {tmp_path / 'results'}")
    overlay.write_text(text)
    shared = re.search(r"`(--config config/demo.yaml .*?)`", PAGE).group(1).replace("things.yaml", str(overlay))
    steps = PAGE.split("<!-- steps:begin")[1].split("<!-- steps:end")[0]
    lines = [line for line in steps.splitlines() if line.startswith("nearid ")]
    assert len(lines) == 9
    for line in lines:
        result = CliRunner().invoke(command, shlex.split(line.replace("$C", shared))[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"
    table = (tmp_path / "results/things/paper/tables/table5.md").read_text()
    assert "Colour histogram" in table
