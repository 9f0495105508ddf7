"""The rendered world: what the demo's claims rest on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from nearid.config.schema.dataset import RenderedData
from nearid.data.datasets.rendered import Dataset
from nearid.demo.renderer import (
    draw_edit,
    draw_instance,
    draw_sibling,
    identity_from_seed,
    render_edit,
    render_sibling,
    render_view,
    view_plan,
)
from nearid.io.randomness import keyed_rng

OPTIONS = RenderedData(identities=40, size_px=64, three_view_fraction=0.5)


def test_siblings_share_category_and_palette_but_not_markings_or_shape() -> None:
    for seed in range(50):
        instance = draw_instance(keyed_rng("test", seed))
        sibling = draw_sibling(instance, keyed_rng("sibling", seed))
        assert (sibling.category, sibling.palette) == (instance.category, instance.palette)
        assert sibling.pattern != instance.pattern
        assert sibling.motif != instance.motif
        assert (np.abs(np.subtract(sibling.proportions, instance.proportions)) > 0.4).sum() >= 3


def test_there_are_twelve_categories_each_as_often() -> None:
    categories = [identity_from_seed("nearid", 0, index).category for index in range(34)]
    assert len(set(categories)) >= 12
    assert {categories.count(name) for name in categories} == {2}


@pytest.mark.parametrize("other", ["mtg_train", "mtg_test", "pretraining"])
def test_streams_never_give_the_same_identity(other: str) -> None:
    ours = {identity_from_seed("nearid", 0, index) for index in range(200)}
    assert len(ours) == 200
    assert not ours & {identity_from_seed(other, 0, index) for index in range(200)}


def test_views_have_their_own_scenes_and_exact_masks() -> None:
    instance, plans = identity_from_seed("nearid", 0, 3), view_plan("nearid", 0, 3, 1.0)
    assert len({plan.scene.kind for plan in plans}) == len(plans) == 3
    for plan in plans:
        image, mask = render_view(instance, plan, 64)
        twin, _ = render_view(draw_sibling(instance, keyed_rng("x")), plan, 64)
        assert image.shape == (64, 64, 3)
        assert 0.05 < mask.mean() < 0.8
        # The surroundings do not depend on the object, except at its soft edge of one pixel.
        away = ~np.isin(np.arange(64), np.flatnonzero(mask.any(0)))
        away[max(0, np.flatnonzero(mask.any(0))[0] - 12) : np.flatnonzero(mask.any(0))[-1] + 13] = False
        np.testing.assert_array_equal(image[:, away], twin[:, away])


def test_a_part_edit_changes_the_part_and_nothing_else() -> None:
    shares = []
    for index in range(12):
        instance = identity_from_seed("mtg_test", 0, index)
        plan = view_plan("mtg_test", 0, index, 0.0)[0]
        image, mask = render_view(instance, plan, 64)
        edited, part = render_edit(instance, draw_edit(instance, keyed_rng("edit", index)), plan, 64)
        changed = np.abs(image.astype(int) - edited).max(-1) > 24
        near_part = np.zeros_like(part)
        rows, columns = np.nonzero(part)
        for down in (-2, -1, 0, 1, 2):
            for right in (-2, -1, 0, 1, 2):
                near_part[np.clip(rows + down, 0, 63), np.clip(columns + right, 0, 63)] = True
        # A texture's first and last row blend at the body's edge, which affects a few pixels.
        assert (changed & ~near_part).sum() <= 0.02 * mask.sum()
        assert changed.any()
        shares.append((part & mask).sum() / mask.sum())
    assert min(shares) < 0.25
    assert max(shares) > 0.6


def test_a_sibling_stands_where_the_object_stood() -> None:
    instance, plan = identity_from_seed("nearid", 0, 5), view_plan("nearid", 0, 5, 0.5)[1]
    image, mask = render_view(instance, plan, 64)
    sibling = render_sibling(OPTIONS, 0, 5, 1, seed=1, working_px=64)
    again = render_sibling(OPTIONS, 0, 5, 1, seed=1, working_px=64)
    np.testing.assert_array_equal(sibling, again)
    differs = np.abs(image.astype(int) - sibling).max(-1) > 40
    assert differs[mask].mean() > 0.3
    assert differs[~mask].mean() < 0.1


def test_another_process_renders_the_same_pixels() -> None:
    identity, dropped = Dataset(OPTIONS, 0).load(7)
    assert identity is not None
    assert not dropped
    code = (
        "import hashlib; from nearid.data.datasets.rendered import Dataset;"
        "from nearid.config.schema.dataset import RenderedData;"
        f"one, _ = Dataset(RenderedData(**{OPTIONS.model_dump(exclude_none=True)!r}), 0).load(7);"
        "print(hashlib.sha256(b''.join(v.image.tobytes() + v.mask.tobytes() for v in one.views)).hexdigest())"
    )
    import hashlib

    ours = hashlib.sha256(b"".join(view.image.tobytes() + view.mask.tobytes() for view in identity.views)).hexdigest()
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert told == ours


def test_another_seed_gives_other_identities() -> None:
    assert identity_from_seed("nearid", 0, 1) != identity_from_seed("nearid", 1, 1)
