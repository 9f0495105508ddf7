"""Another identity of the class, cut from its own picture and pasted over the target; needs masks but no weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from nearid.distractors.colours import match_colours
from nearid.distractors.donors import Donors, bounds
from nearid.distractors.finishing import dilate
from nearid.distractors.pool import Pool
from nearid.distractors.protocol import BaseEngine, NothingToPaint, PaintError, Target

if TYPE_CHECKING:
    from nearid.config.schema.sources import CutPaste
    from nearid.config.settings.data import AnyDataset
    from nearid.config.settings.distractors import Source

_FILL_SIDE_PX = 128
_RIM_PX = 2
_MOST_STRETCH = 1.4
_MOST_TURN_DEGREES = 6.0


class Engine(BaseEngine):
    """Removes the target by Telea's inpainting, then pastes a donor in its place.

    The donor is another identity of the same class and split, similar in colours and outline (`donors`), scaled to the
    box of the target's mask, slightly rotated, colour-matched to the target (`colours`) and blended: `feather` softens
    its edge; `seamless` is cv2.seamlessClone (Poisson blending), followed by a second colour match, since it shifts
    colours towards those of the scene.
    """

    needs_pool: ClassVar[bool] = True

    def __init__(self, source: Source[CutPaste], dataset: AnyDataset, seed: int, pool: Pool) -> None:
        del dataset, seed
        self._working_px = source.working_px
        self._blend = source.options.blend or "feather"
        self._donors = Donors(pool)

    def paint(self, target: Target, seed: int) -> NDArray[np.uint8]:
        """The frame with the donor, long side `working_px`."""
        donor = self._donors.choose(target.image, target.mask, target.id, target.class_name, target.split, seed)
        if donor is None:
            raise NothingToPaint(f"no other identity of class {target.class_name!r} in split {target.split!r}")
        factor = self._working_px / max(target.mask.shape)
        view, mask = _scale(target.image, target.mask, factor)
        _, hole = _scale(target.image, target.hole, factor)
        # The hole is grown, so that no pixel of the target's edge bleeds into the filling.
        scene = fill(view, hole | dilate(mask, _RIM_PX))
        item, where = place(*self._donors.read(donor), mask, turn=_draw_turn(seed))
        if not where.any():
            raise PaintError("the donor's outline vanished at the working resolution")
        item = match_colours(item, where, view, mask)
        if self._blend == "feather":
            return _feather(item, scene, where)
        return match_colours(_clone(item, scene, where), where, view, mask)


def fill(view: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """`view` with `hole` filled by Telea's inpainting on a small copy, since the filling is smooth anyway."""
    height, width = hole.shape
    factor = min(1.0, _FILL_SIDE_PX / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small_hole = cv2.resize(hole.astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    # Pixels that are partly hole count as hole: they would bleed the object into the filling.
    small_hole = cv2.dilate(
        (cv2.resize(hole.astype(np.float32), size) > 0).astype(np.uint8) | small_hole, np.ones((3, 3))
    )
    small = cv2.inpaint(cv2.resize(view, size, interpolation=cv2.INTER_AREA), small_hole, 3, cv2.INPAINT_TELEA)
    filled = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.where(hole[..., None], filled, view)


def place(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], goal: NDArray[np.bool_], turn: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """`image` and `mask` moved so that the mask's box fills the box of `goal`, in a frame of `goal`'s size.

    The aspect ratio changes by a factor of at most `_MOST_STRETCH`; `turn` is a rotation in degrees.
    """
    top, bottom, left, right = bounds(mask)
    goal_top, goal_bottom, goal_left, goal_right = bounds(goal)
    across, down = (goal_right - goal_left) / (right - left), (goal_bottom - goal_top) / (bottom - top)
    stretch = np.clip(across / down, 1 / _MOST_STRETCH, _MOST_STRETCH)
    # Scaled to the area of the goal's box: neither does much stick out of it, nor does much of it stay uncovered.
    size = np.sqrt(across * down)
    scale = np.diag([size * np.sqrt(stretch), size / np.sqrt(stretch)])
    angle = np.deg2rad(turn)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ scale
    centre = np.array([(left + right - 1) / 2, (top + bottom - 1) / 2])
    goal_centre = np.array([(goal_left + goal_right - 1) / 2, (goal_top + goal_bottom - 1) / 2])
    affine = np.column_stack([linear, goal_centre - linear @ centre])
    height, width = goal.shape
    cut = image.copy()
    if size < 1:
        # cv2.warpAffine does not antialias when it scales down.
        cut = cv2.GaussianBlur(cut, (0, 0), 0.5 / size)
    moved = cv2.warpAffine(cut, affine, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    soft = cv2.warpAffine(mask.astype(np.float32), affine, (width, height), flags=cv2.INTER_LINEAR)
    return moved, soft > 0.5


def _draw_turn(seed: int) -> float:
    return float(np.random.default_rng([seed, 1]).uniform(-_MOST_TURN_DEGREES, _MOST_TURN_DEGREES))


def _scale(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], factor: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    height, width = mask.shape
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
    if not scaled.any():
        raise PaintError("the mask vanished at the working resolution")
    return cv2.resize(image, size, interpolation=how), scaled


def _feather(item: NDArray[np.uint8], scene: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    # Eroded first, so that no rim of the donor's own background comes along.
    inner = cv2.erode(where.astype(np.uint8), np.ones((3, 3))).astype(np.float32)
    weight = cv2.GaussianBlur(inner, (0, 0), max(0.6, max(where.shape) / 256))[..., None]
    return np.rint(weight * item + (1 - weight) * scene).astype(np.uint8)


def _clone(item: NDArray[np.uint8], scene: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    # seamlessClone rejects masks that touch the border, and places a mask by the centre of its box.
    edge = 2
    wide = np.pad(where.astype(np.uint8) * 255, edge)
    top, bottom, left, right = bounds(wide > 0)
    around = ((edge, edge), (edge, edge), (0, 0))
    padded_item, padded_scene = np.pad(item, around, mode="edge"), np.pad(scene, around, mode="edge")
    box = (slice(top - 1, bottom + 1), slice(left - 1, right + 1))
    centre = (left - 1 + (right - left + 2) // 2, top - 1 + (bottom - top + 2) // 2)
    cloned = cv2.seamlessClone(padded_item[box], padded_scene, wide[box], centre, cv2.NORMAL_CLONE)
    # seamlessClone changes pixels outside the mask by a grey level or two.
    return np.where(where[..., None], cloned[edge:-edge, edge:-edge], scene)
