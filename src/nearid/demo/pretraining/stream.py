"""The endless stream: chunks of rendered objects and scenes, keyed by number, composed anew for every batch."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nearid.demo.renderer.instances import CATEGORY_NAMES, MOTIF_NAMES, PATTERN_NAMES, Instance, draw_instance
from nearid.demo.renderer.scenes import SCENE_NAMES
from nearid.demo.renderer.stage import composite, open_stage
from nearid.demo.renderer.views import draw_plan, render_instance
from nearid.io.randomness import keyed_rng
from nearid.io.workers import end_with_parent

NO_SCENE = len(SCENE_NAMES)  # the object on black, "alone"
N_TRAITS = 23
PALETTE = slice(6, 18)  # of the traits


@dataclass(frozen=True)
class Objects:
    """Rendered objects with what is to be known of them.

    Attributes:
        items: premultiplied RGBA [n, h, w, 4]. scenes: their surroundings without them [n, h, w, 3].
        category, pattern, motif, scene_kind: indices [n]. traits: standardised numbers [n, 23], see `describe_traits`.
    """

    items: NDArray[np.uint8]
    scenes: NDArray[np.uint8]
    category: NDArray[np.int64]
    pattern: NDArray[np.int64]
    motif: NDArray[np.int64]
    scene_kind: NDArray[np.int64]
    traits: NDArray[np.float32]


@dataclass(frozen=True)
class PretrainingBatch:
    """What one step sees: images [n, h, w, 3], alpha [n, h, w] in [0, 1], labels as in `Objects` or NO_SCENE."""

    images: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    category: NDArray[np.int64]
    pattern: NDArray[np.int64]
    motif: NDArray[np.int64]
    scene: NDArray[np.int64]
    traits: NDArray[np.float32]


def describe_traits(instance: Instance) -> NDArray[np.float32]:
    """Proportions [6], palette [12] and numbers of the markings [5], about uniform with unit variance [23]."""
    markings = [
        (instance.around - 6) / 6,
        (instance.rows - 2) / 2,
        (instance.motifs_around - 4) / 2,
        (instance.motif_height - 0.25) * 2,
        (instance.motif_size - 0.15) * 20,
    ]
    values = np.concatenate([instance.proportions, np.ravel(instance.palette), markings])
    return ((values - 0.5) / 0.29).astype(np.float32)


def render_chunk(stream: str, seed: int, chunk: int, size: int, size_px: int) -> Objects:
    """Chunk number `chunk` of a stream: `size` new objects; the same on every call."""
    stage = open_stage(size_px)
    rows: dict[str, list[Any]] = {field.name: [] for field in fields(Objects)}
    for index in range(size):
        rng = keyed_rng("pretraining", stream, seed, chunk, index)
        instance, plan = draw_instance(rng), draw_plan(rng)
        rows["items"].append(render_instance(instance, plan, size_px))
        rows["scenes"].append(stage.render_scene(plan.scene, plan.pose))
        rows["category"].append(CATEGORY_NAMES.index(instance.category))
        rows["pattern"].append(PATTERN_NAMES.index(instance.pattern))
        rows["motif"].append(MOTIF_NAMES.index(instance.motif))
        rows["scene_kind"].append(SCENE_NAMES.index(plan.scene.kind))
        rows["traits"].append(describe_traits(instance))
    return Objects(**{name: np.stack(values) for name, values in rows.items()})


def follow_stream(stream: str, seed: int, first: int, size: int, size_px: int, kept: int) -> Iterator[Objects]:
    """Yield pools of the last `kept` chunks, one new chunk at a time, rendered ahead by one worker process.

    Args:
        first: number of the first chunk to add; earlier ones in the window are rendered again, so that a resumed run
            sees what an undisturbed one saw.
    """
    # Spawn: a forked child would inherit the parent's OpenGL context and thread pools.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool:
        numbers = iter(range(max(0, first - kept + 1), 1 << 40))
        pending = [pool.submit(render_chunk, stream, seed, next(numbers), size, size_px) for _ in range(2)]
        window: list[Objects] = []
        number = max(0, first - kept + 1)
        while True:
            window = [*window, pending.pop(0).result()][-kept:]
            pending.append(pool.submit(render_chunk, stream, seed, next(numbers), size, size_px))
            if number >= first:
                yield join_objects(window)
            number += 1


def join_objects(chunks: list[Objects]) -> Objects:
    """One pool out of several chunks."""
    return Objects(**{f.name: np.concatenate([getattr(chunk, f.name) for chunk in chunks]) for f in fields(Objects)})


def compose_batch(pool: Objects, size: int, alone: float, rng: np.random.Generator) -> PretrainingBatch:
    """Draw objects and show each twice: picture i and picture i + size / 2 hold the same object in the same place.

    The first stands before a scene, its own or another; the second before yet another one or (a share `alone`) none.
    Rendering is what costs, so each object is used several times, never twice the same: turned over, moved, scaled, in
    other colours (with its traits); some pictures lose resolution.
    """
    objects = rng.integers(len(pool.items), size=size // 2)
    items, traits = [], []
    for pick in objects:
        item, trait = _recolour(pool.items[pick], pool.traits[pick], rng)
        items.append(_move(item, rng))
        traits.append(trait)
    picks = np.tile(objects, 2)
    behind = np.where(rng.random(size) < 0.25, picks, rng.integers(len(pool.items), size=size))
    bare = np.arange(size) >= size // 2
    bare &= rng.random(size) < alone
    images = []
    for item, other, black in zip(items * 2, behind, bare, strict=True):
        image = np.ascontiguousarray(item[..., :3]) if black else composite(_crop(pool.scenes[other], rng), item)
        images.append(_degrade(image, rng))
    return PretrainingBatch(
        images=np.stack(images),
        alpha=np.stack([item[..., 3] for item in items * 2]).astype(np.float32) / np.float32(255),
        category=pool.category[picks],
        pattern=pool.pattern[picks],
        motif=pool.motif[picks],
        scene=np.where(bare, NO_SCENE, pool.scene_kind[behind]),
        traits=np.stack(traits * 2),
    )


def _recolour(
    item: NDArray[np.uint8], traits: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Exchange the colour channels of an object and of the palette among its traits."""
    order = rng.permutation(3)
    palette = traits[PALETTE].reshape(4, 3)[:, order].ravel()
    return item[..., [*order, 3]], np.concatenate([traits[: PALETTE.start], palette, traits[PALETTE.stop :]])


def _move(item: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = item.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-10, 10), rng.uniform(0.75, 1.15))
    matrix[:, 2] += rng.uniform(-0.08, 0.08, 2) * width
    turned = item[:, ::-1] if rng.random() < 0.5 else item
    return cv2.warpAffine(np.ascontiguousarray(turned), matrix, (width, height), flags=cv2.INTER_LINEAR)


def _crop(scene: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    size = scene.shape[0]
    side = int(size * rng.uniform(0.7, 1.0))
    top, left = rng.integers(0, size - side + 1, 2)
    cut = scene[top : top + side, left : left + side]
    return cv2.resize(cut[:, ::-1] if rng.random() < 0.5 else cut, (size, size), interpolation=cv2.INTER_LINEAR)


def _degrade(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    # A general backbone has seen pictures of every quality.
    kind = rng.random()
    size = image.shape[1], image.shape[0]
    if kind < 0.12:
        factor = rng.uniform(0.4, 0.8)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    elif kind < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.0))
    gain = rng.uniform(0.85, 1.15)
    return np.clip(image * gain, 0, 255).astype(np.uint8)
