"""What an identity is: category, proportions, palette and markings, drawn from a seed."""

from __future__ import annotations

import colorsys
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearid.demo.renderer.markings import MOTIFS, PATTERNS
from nearid.demo.renderer.shapes import CATEGORIES, N_PROPORTIONS

CATEGORY_NAMES = tuple(CATEGORIES)
PATTERN_NAMES = tuple(PATTERNS)
MOTIF_NAMES = tuple(MOTIFS)
TRAITS = ("proportions", "pattern", "motif")
"""What siblings may differ in; they share category and palette."""
COLOUR_NAMES = {
    "red": 0.0, "orange": 0.075, "yellow": 0.15, "green": 0.33, "teal": 0.48, "blue": 0.6, "purple": 0.76, "pink": 0.9
}  # fmt: skip

_TRAIT_OF = (
    {"proportions": "proportions"}
    | {name: "pattern" for name in ("pattern", "around", "rows")}
    | {name: "motif" for name in ("motif", "motifs_around", "motif_height", "motif_size")}
)
# Siblings with other proportions differ by more than this in at least three of the six: look-alikes, not copies.
SIBLING_PROPORTION_GAP = 0.4


@dataclass(frozen=True)
class Instance:
    """One identity.

    Attributes:
        category: key of `shapes.CATEGORIES`.
        proportions: six numbers in [0, 1].
        palette: RGB in [0, 1] of base, marking, motif and accent; the surface `second` has the marking's colour.
        pattern, around, rows: see `markings.paint_body`.
        motif, motifs_around, motif_height, motif_size: see `markings.paint_body`.
    """

    category: str
    proportions: tuple[float, ...]
    palette: tuple[tuple[float, float, float], ...]
    pattern: str
    around: int
    rows: int
    motif: str
    motifs_around: int
    motif_height: float
    motif_size: float

    @property
    def description(self) -> str:
        """Foreground text, e.g. "a blue mug, striped in white, with red stars"."""
        base, marking, motif, _ = (name_colour(colour) for colour in self.palette)
        pattern = "plain" if self.pattern == "plain" else f"{self.pattern} in {marking}"
        return f"a {base} {self.category}, {pattern}, with {motif} {self.motif} motifs"

    @property
    def colours(self) -> NDArray[np.float64]:
        """The palette as an array [4, 3]."""
        return np.array(self.palette)


def draw_instance(rng: np.random.Generator, category: str | None = None) -> Instance:
    """A new identity; its category is drawn too unless given."""
    name = category or CATEGORY_NAMES[rng.integers(len(CATEGORY_NAMES))]
    return Instance(
        category=name, proportions=_draw_proportions(rng), palette=_draw_palette(rng), **_draw_markings(rng, None)
    )


def draw_sibling(instance: Instance, rng: np.random.Generator, traits: Collection[str] = TRAITS) -> Instance:
    """Another instance of the same category with exactly the same palette, which differs in `traits` only."""
    while True:
        proportions = _draw_proportions(rng)
        gaps = np.abs(np.subtract(proportions, instance.proportions))
        if (gaps > SIBLING_PROPORTION_GAP).sum() >= 3:
            break
    drawn = {"proportions": proportions, **_draw_markings(rng, instance)}
    return replace(instance, **{name: value for name, value in drawn.items() if _TRAIT_OF[name] in traits})


def name_colour(colour: tuple[float, float, float]) -> str:
    """The nearest of a few colour words."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    if saturation < 0.22:
        return "white" if value > 0.7 else "grey" if value > 0.3 else "black"
    return min(COLOUR_NAMES, key=lambda name: abs((hue - COLOUR_NAMES[name] + 0.5) % 1 - 0.5))


def _draw_proportions(rng: np.random.Generator) -> tuple[float, ...]:
    return tuple(float(x) for x in rng.random(N_PROPORTIONS))


def _draw_palette(rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    # Base, marking and motif must be distinguishable under coloured light, so they keep a distance.
    while True:
        colours = []
        for _ in range(4):
            saturation, value = (rng.uniform(0, 0.15), rng.choice([0.15, 0.95])) if rng.random() < 0.2 else (
                rng.uniform(0.55, 1.0), rng.uniform(0.45, 1.0))  # fmt: skip
            colours.append(colorsys.hsv_to_rgb(rng.random(), saturation, value))
        c = np.array(colours)
        if min(np.linalg.norm(c[0] - c[1]), np.linalg.norm(c[0] - c[2])) > 0.6 and np.linalg.norm(c[1] - c[2]) > 0.3:
            return tuple((float(r), float(g), float(b)) for r, g, b in colours)


def _draw_markings(rng: np.random.Generator, other: Instance | None) -> dict[str, Any]:
    patterns = [name for name in PATTERN_NAMES if other is None or name != other.pattern]
    motifs = [name for name in MOTIF_NAMES if other is None or name != other.motif]
    return {
        "pattern": patterns[rng.integers(len(patterns))],
        "around": int(rng.integers(6, 13)),
        "rows": int(rng.integers(2, 5)),
        "motif": motifs[rng.integers(len(motifs))],
        "motifs_around": int(rng.integers(4, 7)),
        "motif_height": float(rng.uniform(0.25, 0.75)),
        "motif_size": float(rng.uniform(0.15, 0.2)),
    }
