"""The demo backbone's pretraining: targets against slow counting, a killed run against an undisturbed one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import SiglipModel

from nearid.demo.pretraining import pretrain
from nearid.demo.pretraining.loop import context_weight
from nearid.demo.pretraining.settings import Pretraining
from nearid.demo.pretraining.stream import PALETTE, compose_batch, render_chunk
from nearid.demo.pretraining.targets import DIRECTIONS, LEVELS, describe_surroundings
from nearid.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def read_settings() -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((REPOSITORY / "config" / "backbone.yaml").read_text())
    return settings


def test_colour_shares_equal_slow_counting() -> None:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32))
    alpha = torch.from_numpy((rng.random((2, 32, 32)) < 0.5).astype(np.float32))
    bins = LEVELS**3 + DIRECTIONS + 1
    found = (describe_surroundings(pixels, alpha, 8).reshape(2, 4, 4, 3, bins) / 4.0).square().numpy()
    for image in range(2):
        for row in range(4):
            for column in range(4):
                box = slice(row * 8, row * 8 + 8), slice(column * 8, column * 8 + 8)
                on_object = alpha[image][box].mean() > 0.5
                counts = np.zeros(LEVELS**3)
                for y in range(row * 8, row * 8 + 8):
                    for x in range(column * 8, column * 8 + 8):
                        if (alpha[image, y, x] > 0.5) == on_object:
                            level = [min(int((float(v) + 1) / 2 * LEVELS), LEVELS - 1) for v in pixels[image, :, y, x]]
                            counts[(level[0] * LEVELS + level[1]) * LEVELS + level[2]] += 1
                np.testing.assert_allclose(found[image, row, column, 0, : LEVELS**3], counts / counts.sum(), atol=1e-5)


def test_recolouring_keeps_picture_and_palette_together() -> None:
    pool = render_chunk("test", 0, 0, 4, 48)
    batch = compose_batch(pool, 64, 1.0, np.random.default_rng(0))
    # Objects alone: the channel means of a picture rank as the channel sums of its palette do, up to what is visible.
    ranks = [np.corrcoef(image.mean((0, 1)), trait[PALETTE].reshape(4, 3).sum(0))[0, 1] for image, trait in zip(
        batch.images, batch.traits, strict=True)]  # fmt: skip
    assert np.nanmedian(ranks) > 0.5


def test_self_distillation_waits_until_the_tokens_hold_something() -> None:
    # At its full weight from the first step on, it made all tokens the same.
    settings = Pretraining.parse(read_settings())
    weights = [context_weight(step, settings) for step in range(settings.steps)]
    assert not any(weights[: settings.steps // 3])
    assert weights == sorted(weights)
    assert weights[-1] == settings.weights.context


def test_an_unknown_setting_is_told_before_anything_is_rendered(tmp_path: Path) -> None:
    settings = read_settings()
    settings["weights"]["contxt"] = 1.0
    with pytest.raises(UserError, match=r"the backbone's settings, weights\.contxt"):
        pretrain(settings, tmp_path / "none")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_its_folder_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings()
    settings |= {"steps": 4, "steps_per_chunk": 2, "chunk_objects": 8, "chunks_kept": 2, "batch_size": 4, "threads": 1}
    settings |= {"size_px": 48, "width": 32, "heads": 4, "layers": 2, "kept_patches": 20}
    settings |= {"full_steps": 1, "warmup_steps": 2}
    pretrain(settings, tmp_path / "whole")

    from nearid.demo.pretraining import loop

    keep = loop._Trainer.keep

    def keep_and_stop(self: loop._Trainer, folder: Path, chunk: int) -> None:
        keep(self, folder, chunk)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop._Trainer, "keep", keep_and_stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain(settings, tmp_path / "stopped")
    monkeypatch.undo()
    pretrain(settings, tmp_path / "stopped")

    whole, stopped = (SiglipModel.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "stopped"))
    for name, value in whole.items():
        torch.testing.assert_close(stopped[name], value, rtol=0, atol=0)
