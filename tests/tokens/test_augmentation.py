"""Augmentation: drawn from keyed random numbers, applied as step by step with PIL."""

import colorsys

import numpy as np
import pytest

from nearid.tokens.augmentation import DRAWS, PARAMETERS, UNCHANGED, augment, draw

pytestmark = pytest.mark.numerics


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def with_(**changes):
    parameters = UNCHANGED.copy()
    for name, value in changes.items():
        parameters[PARAMETERS.index(name)] = value
    return parameters


def test_chances_and_ranges():
    drawn = draw(np.random.default_rng(0).random((20000, DRAWS)), {"flip": 0.5, "jitter": 0.3, "affine": 0.2})
    columns = dict(zip(PARAMETERS, drawn.T, strict=True))
    assert columns["flip"].mean() == pytest.approx(0.5, abs=0.02)
    jittered = columns["brightness"] != 1
    assert jittered.mean() == pytest.approx(0.3, abs=0.02)
    assert ((columns["hue"] != 0) == jittered).all()
    moved = columns["scale"] != 1
    assert moved.mean() == pytest.approx(0.2, abs=0.02)
    for name, low, high in (("contrast", 0.8, 1.2), ("hue", -0.05, 0.05), ("right", -0.1, 0.1), ("scale", 0.9, 1.1)):
        chosen = columns[name][moved if name in ("right", "scale") else jittered]
        assert (chosen.min(), chosen.max()) == pytest.approx((low, high), abs=0.01)
    assert set(columns["order"][jittered]) == set(range(24))


def test_nothing_drawn_changes_nothing(image):
    drawn = draw(np.random.default_rng(0).random((4, DRAWS)), {"flip": 0.0, "jitter": 0.0, "affine": 0.0})
    assert (drawn == UNCHANGED).all()
    assert augment(image, drawn[0]) is image


def test_flip(image):
    assert (augment(image, with_(flip=1)) == image[:, ::-1]).all()


def test_shift_moves_pixels_and_leaves_black(image):
    moved = augment(image, with_(right=0.1, down=-0.1))
    assert (moved[:-2, 3:] == image[2:, :-3]).all()
    assert not moved[:, :3].any()
    assert not moved[-2:].any()


def test_scale_keeps_the_centre():
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:30, 10:30] = 200
    larger, smaller = (augment(image, with_(scale=scale)).any(-1) for scale in (1.1, 0.9))
    assert (larger.sum(), smaller.sum()) == (22 * 22, 18 * 18)
    for shape in (larger, smaller):
        rows = np.flatnonzero(shape.any(1))
        assert rows.mean() == pytest.approx(19.5, abs=0.5)


def test_brightness_and_contrast_against_the_formula(image):
    # PIL's integer arithmetic: off by one at most.
    assert np.abs(augment(image, with_(brightness=1.2)) - np.clip(image * 1.2, 0, 255)).max() <= 1
    grey = image @ [0.299, 0.587, 0.114]
    expected = np.clip(grey.mean() + 0.8 * (image - grey.mean()), 0, 255)
    assert np.abs(augment(image, with_(contrast=0.8)) - expected).max() <= 1.5


def test_hue_against_the_formula(image):
    turned = augment(image, with_(hue=0.05)).astype(int)
    expected = []
    for red, green, blue in image.reshape(-1, 3) / 255:
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        expected.append(colorsys.hsv_to_rgb((hue + 0.05) % 1, saturation, value))
    # PIL's HSV has 8 bits per channel.
    assert np.abs(turned.reshape(-1, 3) - np.array(expected) * 255).mean() < 3
    assert np.abs(turned - image.astype(int)).mean() > 5


def test_order_of_the_jitter_counts(image):
    changes = {"brightness": 1.2, "contrast": 0.8, "saturation": 1.2}
    assert (augment(image, with_(order=0, **changes)) != augment(image, with_(order=23, **changes))).any()
