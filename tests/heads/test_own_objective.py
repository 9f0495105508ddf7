"""The worked example of docs/own_objective.md runs with one file and one entry."""

import re
from pathlib import Path

import numpy as np
import pytest
import token_world as world
import torch

from nearid.config import load, missing_members
from nearid.heads import objectives

pytestmark = pytest.mark.numerics

ROOT = Path(__file__).parents[2]


@pytest.fixture
def blocks():
    text = (ROOT / "docs/own_objective.md").read_text()
    return dict(re.findall(r"```(python|yaml)\n(.*?)```", text, flags=re.DOTALL))


@pytest.fixture
def installed(blocks, tmp_path, monkeypatch):
    (tmp_path / "triplet.py").write_text(blocks["python"])
    monkeypatch.setattr(objectives, "__path__", [*objectives.__path__, str(tmp_path)])


def test_it_is_the_loop_that_it_says(installed):
    generator = torch.Generator().manual_seed(0)
    raw = [torch.randn(4, *shape, 8, dtype=torch.float64, generator=generator) for shape in ((), (2,), (3,))]
    u = torch.tensor([[True, True], [True, False]] * 2)
    v = torch.tensor([[True, True, False]] * 4)
    x, y, z = (torch.nn.functional.normalize(part, dim=-1) for part in raw)
    losses = [
        max(0.0, (0.3 + x[i] @ z[i, k] - x[i] @ y[i, p]).item())
        for i in range(4)
        for p in range(2)
        for k in range(3)
        if u[i, p] and v[i, k]
    ]
    assert objectives.create("triplet", margin=0.3)(*raw, u, v).item() == pytest.approx(np.mean(losses))


def test_it_trains(installed, tmp_path, trained):
    settings = world.settings(objective="triplet", params={"margin": 0.3})
    folder = trained(world.write_world(tmp_path / "results"), settings)
    assert (folder / "head.safetensors").exists()
    assert '"triplet": ' in (folder / "log.jsonl").read_text()


def test_its_entry_lacks_nothing_but_the_file(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(blocks["yaml"])
    config = load("config/demo.yaml", overlay)
    before = missing_members(load("config/demo.yaml"))
    assert missing_members(config) == before | {"nearid.heads.objectives.triplet": ["ablations.triplet"]}
