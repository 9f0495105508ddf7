"""Small pictures of one disc or square over noise, as an image folder."""

from pathlib import Path

import numpy as np
from PIL import Image

from nearid.config.settings.data import CuratePositives
from nearid.data import positives
from nearid.layout import Layout

SIDE = 48


def draw(seed: int, round_body: bool = True, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Picture [side, side, 3] and mask [side, side]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2
    x, y = x + rng.uniform(-3, 3), y + rng.uniform(-3, 3)
    radius = side * rng.uniform(0.2, 0.3)
    mask = np.hypot(x, y) < radius if round_body else np.maximum(abs(x), abs(y)) < radius
    image = rng.integers(0, 90, 3) + rng.integers(0, 30, (side, side, 3))
    stripes = np.where((np.arange(side) // rng.integers(3, 7)) % 2, 255, 150)
    image[mask] = (stripes[:, None, None] * rng.uniform(0.6, 1, 3)).repeat(side, axis=1)[mask]
    return image.astype(np.uint8), mask


def save_folder(
    root: Path, identities: dict[str, int], masks: bool = True, classes: dict[str, str] | None = None
) -> Path:
    """An image folder with `identities` = {folder: views}, each folder with pictures of its own."""
    for number, (name, views) in enumerate(identities.items()):
        folder = root / name
        folder.mkdir(parents=True)
        for view in range(views):
            image, mask = draw(100 * number + view, round_body=number % 2 == 0)
            Image.fromarray(image).save(folder / f"{view:02d}.png")
            if masks:
                Image.fromarray(mask).save(folder / f"{view:02d}.mask.png")
    if classes:
        lines = ["subject,class", *(f"{name},{group}" for name, group in classes.items())]
        (root / "classes.csv").write_text("\n".join(lines) + "\n")
    return root


PHOTOGRAPHS = {"path": "", "mask_estimator": "", "mask_model": "", "size_px": 64}


def curation(path: Path, shards: int = 1, val: int = 0, test: int | str = 0, estimator: str = "") -> dict:
    """Settings of `curate_positives` for an image folder."""
    return {
        "seed": 0,
        "kind": "image_folder",
        "shards": shards,
        "splits": {"val": val, "test": test},
        "clean_masks": False,
        "min_views": 2,
        "options": PHOTOGRAPHS | {"path": str(path), "mask_estimator": estimator},
    }


def curate(settings: dict, layout: Layout, workers: int = 1) -> None:
    """Run the curation as its command does."""
    positives.curate(CuratePositives.parse(settings), layout, workers)


def read_bytes(layout: Layout) -> dict[str, bytes]:
    """Path -> bytes of every file of the results, including hidden ones."""
    return {str(path.relative_to(layout.root)): path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
