from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import draw
from scipy import ndimage

from nearid.config.schema.dataset import ImageFolder
from nearid.data.masks import grabcut
from nearid.data.masks.cleaning import clean
from nearid.errors import UserError


def clean_slowly(grey: np.ndarray) -> np.ndarray:
    row = np.array([1, 4, 6, 4, 1]) / 16
    blurred = np.floor(ndimage.correlate(grey.astype(float), np.outer(row, row), mode="mirror") + 0.5)
    square = np.ones((5, 5))
    binary = blurred > 10
    # OpenCV ignores what is outside the frame: as if unset for a dilation and set for an erosion.
    dilated = ndimage.binary_dilation(binary, square)
    closed = ndimage.binary_erosion(dilated, square, border_value=1)
    opened = ndimage.binary_dilation(ndimage.binary_erosion(closed, square, border_value=1), square)
    pieces, count = ndimage.label(opened, np.ones((3, 3)))
    filled = [ndimage.binary_fill_holes(pieces == piece) for piece in range(1, count + 1)]
    return max(filled, key=np.sum) if filled else np.zeros(grey.shape, bool)


@pytest.mark.parametrize("seed", range(4))
def test_cleaning_equals_the_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grey = draw(seed, side=80)[1].astype(np.uint8) * 255
    grey[36:42, 36:44] = 0  # a hole
    grey[2:12, 60:75] = 200  # a second, smaller piece
    grey = np.where(rng.random(grey.shape) < 0.02, rng.integers(0, 256, grey.shape), grey).astype(np.uint8)
    np.testing.assert_array_equal(clean(grey), clean_slowly(grey))


def test_cleaning_of_noise_alone_leaves_nothing() -> None:
    grey = np.zeros((40, 40), np.uint8)
    grey[::13, ::13] = 60
    assert not clean(grey).any()


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_grabcut_finds_the_object_whatever_was_drawn_before() -> None:
    estimator = grabcut.Estimator(ImageFolder())
    for seed in range(3):
        image, mask = draw(seed, side=96)
        found = estimator.estimate(image)
        assert overlap(found, mask) > 0.8
        cv2.setRNGSeed(seed + 5)
        np.testing.assert_array_equal(estimator.estimate(image), found)


def test_grabcut_on_a_photograph_finds_something_in_the_middle() -> None:
    path = Path(__file__).parents[2].parent / "shared" / "data" / "dreambooth" / "duck_toy" / "00.jpg"
    if not path.exists():
        pytest.skip(f"no photographs at {path.parent}")
    found = grabcut.Estimator(ImageFolder()).estimate(cv2.imread(str(path))[..., ::-1])
    assert found[192, 192]
    assert 0.05 < found.mean() < 0.5


def test_grabcut_survives_flat_and_tiny_pictures() -> None:
    for shape in ((64, 64, 3), (9, 40, 3)):
        assert grabcut.Estimator(ImageFolder()).estimate(np.full(shape, 128, np.uint8)).shape == shape[:2]


def test_the_chosen_mask_is_central_and_of_fair_size() -> None:
    from nearid.data.masks.mask_generation import choose_mask

    whole, corner, object_, part = (np.zeros((40, 40), bool) for _ in range(4))
    whole[:] = True
    corner[:20, :20] = True
    object_[10:30, 10:30] = True
    part[18:22, 18:22] = True
    masks = np.stack([whole, corner, object_, part])
    np.testing.assert_array_equal(choose_mask(masks, np.array([0.99, 0.95, 0.9, 0.9])), object_)
    assert not choose_mask(masks[:1], np.array([1.0])).any()


@pytest.fixture(scope="module")
def tiny_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    torch.manual_seed(0)
    side = {"image_size": 64, "patch_size": 8}
    config = SamConfig(
        vision_config={
            "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "mlp_ratio": 1.0, "window_size": 4, "global_attn_indexes": [0], "num_pos_feats": 8, **side,
        },
        prompt_encoder_config={"hidden_size": 16, "mask_input_channels": 4, **side},
        mask_decoder_config={
            "hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_depth": 1,
            "iou_head_hidden_dim": 16,
        },
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("sam")
    SamModel(config).save_pretrained(folder)
    processor = SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    SamProcessor(processor).save_pretrained(folder)
    return folder


def test_a_mask_generation_model_from_a_folder(tiny_sam: Path) -> None:
    from nearid.data.masks.mask_generation import Estimator

    image = draw(0, side=60)[0][:40]
    estimator = Estimator(ImageFolder(mask_model=str(tiny_sam)))
    found = estimator.estimate(image)
    assert (found.shape, found.dtype) == ((40, 60), np.bool_)
    np.testing.assert_array_equal(estimator.estimate(image), found)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    from nearid.data.masks.mask_generation import Estimator

    with pytest.raises(UserError, match="does not load"):
        Estimator(ImageFolder(mask_model=str(tmp_path)))
