"""Surface markings: a pattern over the body and a row of motifs, repeated around the axis so every view has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
HEIGHT, WIDTH = 96, 192


def _wave(x: Field) -> Field:
    return np.abs(2 * (x - np.floor(x + 0.5)))  # triangle wave in [0, 1], period 1


# Each pattern takes u in [0, around) and v in [0, rows): one cell is one unit. True is the marking colour.
PATTERNS: dict[str, Callable[[Field, Field], NDArray[np.bool_]]] = {
    "plain": lambda u, v: np.zeros_like(u, bool),
    "banded": lambda u, v: v % 1 < 0.5,
    "striped": lambda u, v: u % 1 < 0.5,
    "diagonal": lambda u, v: (u + v) % 1 < 0.5,
    "checked": lambda u, v: (u % 1 < 0.5) ^ (v % 1 < 0.5),
    "dotted": lambda u, v: (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.1,
    "zigzag": lambda u, v: (v + 0.6 * _wave(u)) % 1 < 0.45,
    "gridded": lambda u, v: (u % 1 < 0.22) | (v % 1 < 0.22),
    "triangular": lambda u, v: v % 1 < 1 - _wave(u),
    "diamond": lambda u, v: np.abs(u % 1 - 0.5) + np.abs(v % 1 - 0.5) < 0.34,
    "bricked": lambda u, v: ((u + 0.5 * (np.floor(v) % 2)) % 1 > 0.16) & (v % 1 > 0.2),
    "ringed": lambda u, v: np.abs(np.hypot(u % 1 - 0.5, v % 1 - 0.5) - 0.3) < 0.11,
}

# Each motif takes coordinates in [-1, 1] squared, y upwards.
MOTIFS: dict[str, Callable[[Field, Field], NDArray[np.bool_]]] = {
    "disc": lambda x, y: x**2 + y**2 < 0.75,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.66) < 0.24,
    "cross": lambda x, y: (np.minimum(np.abs(x), np.abs(y)) < 0.26) & (np.maximum(np.abs(x), np.abs(y)) < 0.92),
    "star": lambda x, y: np.hypot(x, y) < 0.5 + 0.42 * np.cos(5 * np.arctan2(x, y)),
    "heart": lambda x, y: (x**2 + (1.15 * y + 0.1 - 0.75 * np.sqrt(np.abs(x))) ** 2) < 0.62,
    "arrow": lambda x, y: ((y > 0) & (np.abs(x) < 0.95 - y)) | ((y <= 0) & (y > -0.95) & (np.abs(x) < 0.3)),
    "moon": lambda x, y: (x**2 + y**2 < 0.85) & ((x - 0.5) ** 2 + (y - 0.1) ** 2 > 0.55),
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) < 0.78,
    "bars": lambda x, y: (np.abs(y) < 0.9) & (np.abs(np.abs(x) - 0.5) < 0.24),
    "drop": lambda x, y: (x**2 + (y + 0.25) ** 2 < 0.42) | ((y > -0.1) & (np.abs(x) < (0.95 - y) * 0.52) & (y < 0.95)),
}


def paint_body(
    pattern: str,
    around: int,
    rows: int,
    motif: str,
    motifs_around: int,
    motif_height: float,
    motif_size: float,
    colours: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """The body's texture [96, 192, 3]; row 0 is the bottom (VTK's order).

    Args:
        pattern, around, rows: kind of pattern and its cells around the axis and upwards.
        motif, motifs_around, motif_height, motif_size: kind, count, centre and half-height (in v).
        colours: base, marking, motif, as RGB in [0, 1] [3, 3].
    """
    u, v = np.meshgrid((np.arange(WIDTH) + 0.5) / WIDTH, (np.arange(HEIGHT) + 0.5) / HEIGHT)
    index = PATTERNS[pattern](u * around, v * rows).astype(np.uint8)
    # A body is about 2.8 times as long around as it is high: without the factor motifs would be stretched.
    x = ((u * motifs_around) % 1 - 0.5) / motifs_around / (motif_size * 0.36)
    y = (v - motif_height) / motif_size
    # A plain ribbon behind the motifs, so that they are visible on every pattern.
    index[np.abs(y) < 1.15] = 0
    index[(np.abs(x) < 1) & (np.abs(y) < 1) & MOTIFS[motif](x, y)] = 2
    return np.round(colours * 255).astype(np.uint8)[index]


def band_of_body(low: float, high: float) -> NDArray[np.bool_]:
    """The texture's rows between two heights in [0, 1], as a mask [96, 192]."""
    v = (np.arange(HEIGHT) + 0.5) / HEIGHT
    return np.broadcast_to(((v >= low) & (v < high))[:, None], (HEIGHT, WIDTH))
