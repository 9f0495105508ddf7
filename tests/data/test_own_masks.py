"""Users' own masks: however they are named and saved, they are used or reported, and never taken for views."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from nearid.config.schema.dataset import ImageFolder
from nearid.data.datasets.image_folder import Dataset
from nearid.io.images import decode_mask

OBJECT = np.zeros((48, 64), bool)
OBJECT[10:38, 20:44] = True
WHITE = (OBJECT * 255).astype(np.uint8)


def palette(*colours):
    image = Image.fromarray(OBJECT.astype(np.uint8), "P")
    image.putpalette([value for colour in colours for value in colour] + [0] * (768 - 3 * len(colours)))
    return image


def layers(colour, alpha):
    return Image.fromarray(np.dstack([np.full((*OBJECT.shape, 3), colour, np.uint8), alpha]), "RGBA")


SAVED = {
    "plain": Image.fromarray(WHITE),
    "soft": Image.fromarray(WHITE).filter(ImageFilter.GaussianBlur(3)),
    "video": Image.fromarray(np.where(OBJECT, 235, 16).astype(np.uint8)),
    "ones": Image.fromarray(OBJECT.astype(np.uint8)),
    "sixteen": Image.fromarray(WHITE.astype(np.uint16) * 257),
    "bits": Image.fromarray(WHITE).convert("1"),
    "viridis": palette((68, 1, 84), (253, 231, 37)),
    "dark": palette((0, 0, 0), (0, 0, 1)),
    "grey palette": palette((255, 255, 255), (255, 255, 254)),
    "alpha of white": layers(255, WHITE),
    "alpha of black": layers(0, WHITE),
    "blue": Image.fromarray(np.dstack([WHITE * 0, WHITE * 0, WHITE])),
}


@pytest.mark.parametrize("name", SAVED)
def test_one_square_in_many_forms(tmp_path, name):
    SAVED[name].save(tmp_path / "mask.png")
    found = decode_mask(tmp_path / "mask.png")
    assert (found & OBJECT).sum() / (found | OBJECT).sum() > 0.93


def test_a_mask_of_jpeg(tmp_path):
    Image.fromarray(WHITE).save(tmp_path / "mask.jpg", quality=60)
    assert (decode_mask(tmp_path / "mask.jpg") == OBJECT).all()


@pytest.fixture
def load(tmp_path):
    def call(mask=None, at="0.mask.png"):
        folder = tmp_path / "thing"
        for view in (0, 1):
            pixels = np.full((48, 64, 3), 100 + view, np.uint8)
            (folder / Path(at).parent).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{view}.jpg")
        Image.fromarray(WHITE if mask is None else mask).save(folder / at)
        return Dataset(ImageFolder(path=str(tmp_path), mask_estimator="", size_px=64), 0).load(0)

    return call


@pytest.mark.parametrize(
    "name",
    [
        *("0.mask.png", "0.mask.PNG", "0.mask.jpg", "0_mask.png", "0-mask.webp", "0 Mask.png", "mask_0.png"),
        *("0.jpg.mask.png", "masks/0.png", "Masks/0.jpg", "mask/0_mask.png"),
    ],
)
def test_masks_by_many_names(load, name):
    identity, dropped = load(at=name)
    assert [view.filename for view in identity.views] == ["thing/0.jpg", "thing/1.jpg"]
    assert (identity.views[0].mask == OBJECT).mean() > 0.98 and identity.views[1].mask is None and not dropped


@pytest.mark.parametrize("name", ["7_mask.png", "7.mask.jpg", "masks/7.png", "gas-mask.jpg"])
def test_masks_of_nothing_are_told(load, name):
    identity, dropped = load(at=name)
    assert len(identity.views) == 2
    assert [(each.view, each.reason) for each in dropped] == [(name, "a mask without its picture")]


def test_a_second_mask_is_told(load):
    load(at="0_mask.png")
    _, dropped = load()
    assert [(each.view, each.reason) for each in dropped] == [
        ("0_mask.png", "a second mask of 0.jpg: 0.mask.png is taken")
    ]


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (255 - WHITE, "looks inverted"),
        (np.pad(np.zeros((2, 2), np.uint8), ((9, 37), (9, 53)), constant_values=255), "covers 99"),
        (np.pad(np.full((1, 1), 255, np.uint8), ((9, 38), (9, 54))), "covers 0.03%"),
    ],
)
def test_a_mask_that_looks_wrong_is_told(load, mask, reason):
    identity, dropped = load(mask)
    assert [view.filename for view in identity.views] == ["thing/1.jpg"]
    assert reason in dropped[0].reason and dropped[0].view == "0.jpg"
