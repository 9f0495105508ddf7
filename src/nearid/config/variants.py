"""Names of the variants extracted from an image: `full` and `fg`, each plain, mirrored, or augmented by a draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nearid.errors import UserError
from nearid.io.hashing import hash_json

WHOLE, FOREGROUND = MASKING = ("full", "fg")
MIRRORED = "flip"
Chances = Mapping[str, float]


def is_drawn(augmentation: Chances) -> bool:
    """Whether images are jittered or moved, by random amounts: a cache can keep only a few draws of these."""
    return bool(augmentation["jitter"] or augmentation["affine"])


def augmentation_id(augmentation: Chances) -> str:
    """Id of the probabilities that draws are made with."""
    return hash_json({name: float(chance) for name, chance in augmentation.items()})[:8]


def versions(masking: str, augmentation: Chances, draws: int) -> list[str]:
    """The variants of `masking` (`full`, `fg`) that training from cached tokens chooses from.

    `full` alone; `full` and `full_flip`; or, if changes are drawn, `full_<augmentation_id>_<number>`.

    Args:
        masking: the whole image or its foreground.
        augmentation: chances of `flip`, `jitter`, `affine`.
        draws: how many are kept of each image, if it is jittered or moved.

    Raises:
        UserError: images are jittered or moved, and no draw is kept.
    """
    if is_drawn(augmentation):
        if draws < 1:
            raise UserError(
                "training.augmented_draws",
                f"{draws}, with jitter or affine of cached tokens",
                "the number of draws kept per training image: jitter and affine have endlessly many",
                "set `training.augmented_draws` (4, say), or `training.tokens: online` for a new draw in every step",
            )
        return [f"{masking}_{augmentation_id(augmentation)}_{number}" for number in range(draws)]
    return [masking, f"{masking}_{MIRRORED}"] if augmentation["flip"] else [masking]


def parse(variant: str) -> tuple[str, str, int]:
    """Masking of a variant; its change, which is empty, `flip` or an `augmentation_id`; and the number of the draw."""
    masking, _, change = variant.partition("_")
    kind, _, number = change.partition("_")
    return masking, kind, int(number or 0)


def sort_variants(variants: Iterable[str]) -> list[str]:
    """Each once: whole images first, unchanged ones before changed ones."""

    def place(variant: str) -> tuple[int, int, str, int]:
        masking, kind, number = parse(variant)
        return MASKING.index(masking), ("", MIRRORED).index(kind) if kind in ("", MIRRORED) else 2, kind, number

    return sorted(set(variants), key=place)
