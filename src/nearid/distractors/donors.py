"""Choice of the identity whose picture is pasted: similar to the target in colours and outline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from nearid.distractors.pool import Pool, PoolView

_CANDIDATES = 4
_SIDE = 32


@dataclass(frozen=True)
class Appearance:
    """What donors are compared by: colours (mean and deviation in Lab), outline (mask scaled to a square), aspect."""

    colours: NDArray[np.float32]
    outline: NDArray[np.bool_]
    aspect: float


@dataclass(frozen=True)
class Donor:
    """A view that can be pasted, maybe mirrored."""

    member: PoolView
    flipped: bool


class Donors:
    """The donors of a pool; appearances are measured once per class and split, and cached."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._looks = lru_cache(64)(self._measure)

    def choose(
        self, image: NDArray[np.uint8], mask: NDArray[np.bool_], own_id: int, class_name: str, split: str, seed: int
    ) -> Donor | None:
        """A view of an identity similar to the view in colours; of its views the one most similar in outline.

        `seed` chooses among the nearest other identities of the same class and split. None if there are none.
        """
        looks = {member: look for member, look in self._looks(class_name, split).items() if member.id != own_id}
        if not looks:
            return None
        wanted = describe(image, mask)
        distance: dict[int, float] = {}
        for member, look in looks.items():
            distance[member.id] = min(
                distance.get(member.id, np.inf), float(np.linalg.norm(look.colours - wanted.colours))
            )
        nearest = sorted(distance, key=lambda identity: (distance[identity], identity))[:_CANDIDATES]
        chosen = nearest[int(np.random.default_rng(seed).integers(len(nearest)))]
        fits = [
            (_misfit(look, wanted, flipped), member.slot, flipped, member)
            for member, look in looks.items()
            if member.id == chosen
            for flipped in (False, True)
        ]
        _, _, flipped, member = min(fits, key=lambda fit: fit[:3])
        return Donor(member, flipped)

    def read(self, donor: Donor) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Image `[h, w, 3]` and mask `[h, w]` of a donor."""
        image, mask = self._pool.read(donor.member)
        return (image[:, ::-1], mask[:, ::-1]) if donor.flipped else (image, mask)

    def _measure(self, class_name: str, split: str) -> dict[PoolView, Appearance]:
        return {member: describe(*self._pool.read(member)) for member in self._pool.members(class_name, split)}


def describe(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Appearance:
    """The appearance of a view."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[mask].astype(np.float32)
    top, bottom, left, right = bounds(mask)
    box = mask[top:bottom, left:right].astype(np.uint8)
    outline = cv2.resize(box, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) > 0
    colours = np.concatenate([lab.mean(axis=0), lab.std(axis=0)])
    return Appearance(colours, outline, aspect=float(np.log((right - left) / (bottom - top))))


def bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Box of `mask`: top, bottom, left, right, ends exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _misfit(look: Appearance, wanted: Appearance, flipped: bool) -> float:
    outline = look.outline[:, ::-1] if flipped else look.outline
    common = np.logical_and(outline, wanted.outline).sum() / np.logical_or(outline, wanted.outline).sum()
    return float(1 - common + abs(look.aspect - wanted.aspect))
