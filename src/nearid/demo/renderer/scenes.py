"""Surroundings: a floor, a back wall, clutter behind the object, and a light.

There are twelve kinds of scenes, and `wild` ones: any floor with any wall in any colours, so that hardly two are alike.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Texture = NDArray[np.uint8]
SIZE = 128


@dataclass(frozen=True)
class Clutter:
    """An item in the scene: `kind` is box, ball, post or cone; `place` is (x, y), y away from the camera."""

    kind: str
    place: tuple[float, float]
    size: tuple[float, float]
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """One drawn scene.

    Attributes:
        kind: key of `SCENES`, or `WILD`. floor, wall: textures [128, 128, 3]; the wall's lowest row comes first.
        clutter: things behind and beside the object's place.
        light: direction towards the light [3]. tint: its colour [3]. ambient: fill light in [0, 1].
    """

    kind: str
    floor: Texture
    wall: Texture
    clutter: tuple[Clutter, ...]
    light: tuple[float, float, float]
    tint: tuple[float, float, float]
    ambient: float

    @property
    def caption(self) -> str:
        """The scene in words."""
        return "somewhere" if self.kind == WILD else f"in the {self.kind}"


# floor kind, floor hue range, wall kind, wall hue range, saturation, value
SCENES: dict[str, tuple[str, tuple[float, float], str, tuple[float, float], float, float]] = {
    "kitchen": ("tiles", (0.5, 0.62), "tiles", (0.08, 0.16), 0.25, 0.9),
    "beach": ("noise", (0.11, 0.14), "gradient", (0.52, 0.6), 0.45, 0.95),
    "meadow": ("noise", (0.25, 0.36), "gradient", (0.52, 0.6), 0.6, 0.75),
    "library": ("planks", (0.04, 0.09), "books", (0.0, 1.0), 0.6, 0.55),
    "workshop": ("plain", (0.08, 0.14), "planks", (0.05, 0.1), 0.35, 0.6),
    "street": ("noise", (0.55, 0.65), "bricks", (0.0, 0.06), 0.5, 0.6),
    "bathroom": ("tiles", (0.45, 0.55), "tiles", (0.5, 0.65), 0.3, 0.95),
    "nursery": ("plain", (0.85, 0.98), "dots", (0.1, 0.2), 0.3, 0.98),
    "desert": ("noise", (0.05, 0.1), "gradient", (0.03, 0.1), 0.6, 0.9),
    "night club": ("tiles", (0.7, 0.9), "stripes", (0.65, 0.95), 0.9, 0.4),
    "office": ("plain", (0.55, 0.65), "panels", (0.5, 0.7), 0.08, 0.8),
    "theatre": ("planks", (0.03, 0.08), "stripes", (0.96, 1.0), 0.85, 0.6),
}
SCENE_NAMES = tuple(SCENES)
WILD = "wild"
FLOORS = tuple(sorted({floor for floor, *_ in SCENES.values()}))
WALLS = tuple(sorted({wall for _, _, wall, *_ in SCENES.values()}))


def draw_scene(rng: np.random.Generator, kind: str | None = None) -> Scene:
    """A new scene; its kind is drawn too unless given."""
    name = kind or SCENE_NAMES[rng.integers(len(SCENE_NAMES))]
    floor, floor_hue, wall, wall_hue, saturation, value = SCENES[name]
    hues = rng.uniform(*floor_hue), rng.uniform(*wall_hue)
    azimuth, height = rng.uniform(-2.6, -0.5), rng.uniform(0.5, 1.2)
    warm = rng.uniform(-1, 1)
    return Scene(
        kind=name,
        floor=_paint(floor, hues[0], saturation, value, rng),
        wall=_paint(wall, hues[1], saturation, value, rng),
        clutter=tuple(_draw_clutter(rng, hues) for _ in range(rng.integers(2, 5))),
        light=(float(np.cos(azimuth)), float(np.sin(azimuth)), float(height)),
        tint=(1.0 + 0.12 * min(warm, 0), 1.0 - 0.06 * abs(warm), 1.0 - 0.2 * max(warm, 0)),
        ambient=float(rng.uniform(0.35, 0.6)),
    )


def draw_wild_scene(rng: np.random.Generator) -> Scene:
    """A new scene of no kind: floor, wall, both colours, clutter and light are drawn independently."""
    floor, wall = FLOORS[rng.integers(len(FLOORS))], WALLS[rng.integers(len(WALLS))]
    hues = float(rng.random()), float(rng.random())
    azimuth, height = rng.uniform(-2.6, -0.5), rng.uniform(0.5, 1.2)
    warm = rng.uniform(-1, 1)
    return Scene(
        kind=WILD,
        floor=_paint(floor, hues[0], rng.uniform(0.05, 0.9), rng.uniform(0.35, 1.0), rng),
        wall=_paint(wall, hues[1], rng.uniform(0.05, 0.9), rng.uniform(0.35, 1.0), rng),
        clutter=tuple(_draw_clutter(rng, (rng.random(), rng.random())) for _ in range(rng.integers(2, 8))),
        light=(float(np.cos(azimuth)), float(np.sin(azimuth)), float(height)),
        tint=(1.0 + 0.12 * min(warm, 0), 1.0 - 0.06 * abs(warm), 1.0 - 0.2 * max(warm, 0)),
        ambient=float(rng.uniform(0.35, 0.6)),
    )


def _draw_clutter(rng: np.random.Generator, hues: tuple[float, float]) -> Clutter:
    hue = hues[int(rng.integers(2))] + rng.normal(0, 0.08)
    colour = colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.2, 0.8), rng.uniform(0.3, 0.95))
    side = rng.choice([-1.0, 1.0])
    return Clutter(
        kind=str(rng.choice(["box", "ball", "post", "cone"])),
        place=(float(side * rng.uniform(0.35, 1.5)), float(rng.uniform(1.0, 1.9))),
        size=(float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.3, 1.3))),
        colour=(float(colour[0]), float(colour[1]), float(colour[2])),
    )


def _paint(kind: str, hue: float, saturation: float, value: float, rng: np.random.Generator) -> Texture:
    x, y = np.meshgrid(np.arange(SIZE) / SIZE, np.arange(SIZE) / SIZE)
    n, m = int(rng.integers(4, 8)), int(rng.integers(3, 6))
    level = np.ones((SIZE, SIZE))
    shift = np.zeros((SIZE, SIZE))
    if kind == "tiles":
        level -= 0.25 * ((np.floor(x * n) + np.floor(y * n)) % 2) + 0.2 * (((x * n) % 1 < 0.06) | ((y * n) % 1 < 0.06))
    elif kind == "planks":
        tone = rng.uniform(0.7, 1.0, 32)
        level = tone[np.floor(x * n * 2).astype(int)] - 0.3 * ((x * n * 2) % 1 < 0.08)
    elif kind == "bricks":
        row = np.floor(y * 2 * n)
        level -= 0.4 * (((x * n + 0.5 * (row % 2)) % 1 < 0.08) | ((y * 2 * n) % 1 < 0.14))
    elif kind == "noise":
        coarse = rng.normal(0, 1, (16, 16)).repeat(8, 0).repeat(8, 1)
        level += 0.06 * coarse + 0.1 * rng.normal(0, 1, (SIZE, SIZE))
    elif kind == "gradient":
        level = 0.75 + 0.3 * y
        shift = 0.04 * (1 - y)
    elif kind == "books":
        tone, hue_of = rng.uniform(0.5, 1.2, (8, 64)), rng.uniform(0, 1, (8, 64))
        cell = np.floor(y * m).astype(int), np.floor(x * 20).astype(int)
        level = np.where((y * m) % 1 < 0.14, 0.3, tone[cell])
        shift = hue_of[cell]
    elif kind == "dots":
        level -= 0.35 * (((x * n) % 1 - 0.5) ** 2 + ((y * n) % 1 - 0.5) ** 2 < 0.07)
    elif kind == "stripes":
        level -= 0.4 * ((x * n * 2) % 1 < 0.5)
    elif kind == "panels":
        level -= 0.25 * (((x * m) % 1 < 0.05) | ((y * m * 0.6) % 1 < 0.05))
    level = np.clip(level * value, 0.03, 1.0)
    return _to_rgb((hue + shift) % 1, np.full_like(level, saturation), level)


def _to_rgb(hue: NDArray[np.float64], saturation: NDArray[np.float64], value: NDArray[np.float64]) -> Texture:
    k = (np.array([5.0, 3.0, 1.0]) + hue[..., None] * 6) % 6
    rgb = value[..., None] * (1 - saturation[..., None] * np.clip(np.minimum(k, 4 - k), 0, 1))
    return np.round(rgb * 255).astype(np.uint8)
