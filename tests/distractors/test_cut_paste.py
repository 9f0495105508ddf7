from typing import Any

import numpy as np
import pytest
from pictures import draw

from nearid.distractors.colours import match_colours
from nearid.distractors.donors import Donors, bounds
from nearid.distractors.engines.cut_paste import _clone, fill, place
from nearid.distractors.pool import PoolView


def histogram(pixels: np.ndarray) -> np.ndarray:
    counts, _ = np.histogramdd(pixels, bins=6, range=[(0, 256)] * 3)
    return np.sqrt(counts / counts.sum()).ravel()


def test_matched_colours_fool_a_colour_histogram() -> None:
    for seed in range(3):
        (model, model_mask), (image, mask) = draw(seed), draw(seed + 10, round_body=False)
        matched = match_colours(image, mask, model, model_mask)
        wanted = histogram(model[model_mask])
        assert histogram(matched[mask]) @ wanted > max(0.6, histogram(image[mask]) @ wanted)
        np.testing.assert_array_equal(matched[~mask], image[~mask])


def test_matching_a_picture_to_itself_hardly_changes_it() -> None:
    image, mask = draw(0)
    assert np.abs(match_colours(image, mask, image, mask).astype(int) - image).max() <= 3


@pytest.mark.parametrize("turn", [0.0, 5.0])
def test_the_donor_covers_the_box_of_the_goal(turn: float) -> None:
    image, mask = draw(1, side=64)
    goal = np.zeros((50, 70), bool)
    goal[10:40, 15:50] = True
    moved, where = place(image, mask, goal, turn)
    assert (moved.shape, where.shape) == ((50, 70, 3), (50, 70))
    assert np.abs(np.subtract(bounds(where), bounds(goal))).max() <= 4


def test_a_clone_lands_where_its_mask_is() -> None:
    item, where = draw(2)
    scene = np.full_like(item, 128)
    cloned = _clone(item, scene, where)
    np.testing.assert_array_equal(cloned[~where], scene[~where])
    inner = item[where].astype(float).mean(axis=-1)
    assert np.corrcoef(inner, cloned[where].astype(float).mean(axis=-1))[0, 1] > 0.5


def test_a_clone_may_touch_every_border() -> None:
    item, _ = draw(2)
    where = np.ones(item.shape[:2], bool)
    where[0, 0] = False
    assert _clone(item, np.full_like(item, 128), where).shape == item.shape


def test_the_filling_takes_nothing_from_the_hole() -> None:
    image, mask = np.full((200, 160, 3), 40, np.uint8), np.zeros((200, 160), bool)
    mask[60:140, 50:110] = True
    image[mask] = 255
    assert fill(image, mask).max() <= 60


class Shelf:
    """A pool of drawn pictures: each identity has two views in its own colours."""

    def members(self, class_name: str, split: str) -> list[PoolView]:
        return [PoolView(identity, slot, "000", identity) for identity in range(6) for slot in range(2)]

    def read(self, member: PoolView) -> tuple[np.ndarray, np.ndarray]:
        _, mask = draw(member.id * 7 + member.slot, round_body=member.slot == 0)
        image = np.full((*mask.shape, 3), 40, np.uint8)
        image[mask] = (40 * member.id, 20, 240 - 40 * member.id)
        return image, mask


def test_donors_are_other_identities_of_near_colour() -> None:
    pool: Any = Shelf()
    donors = Donors(pool)
    image, mask = pool.read(PoolView(0, 0, "000", 0))
    chosen = [donors.choose(image, mask, 0, "class", "train", seed) for seed in range(40)]
    assert {donor.member.id for donor in chosen if donor} == {1, 2, 3, 4}
    assert all(donor and donor.member.slot == 0 for donor in chosen)  # the round view fits the round hole
