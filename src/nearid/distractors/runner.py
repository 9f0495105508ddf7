"""From views to distractors of one source: decode, paint, bring to size, paste back, check, retry, keep progress."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from nearid.config import step_code
from nearid.data.records import MAX_VIEWS
from nearid.data.schema import DISTRACTORS, columns_of, read_rows
from nearid.distractors.engines import open_engine
from nearid.distractors.pool import Pool
from nearid.io.files import write_json
from nearid.io.hashing import hash_file, hash_json
from nearid.io.images import decode_mask, decode_rgb, encode_png
from nearid.io.progress import track
from nearid.io.randomness import keyed_seed
from nearid.io.resume import Parts
from nearid.io.tables import IMAGE, image_bytes, write_table
from nearid.layout import Layout

ATTEMPTS = 4
"""Seeds that are tried for one view before its slot stays empty."""
PAINTED = "ok"
"""Flag of a painted slot; any other flag is the reason of an empty one."""

_BLACK = 4
_LEAST_CHANGE = 2.0
_PART_SECONDS = 2.0
_INHERITED = ["id", "category", "category_description", "n_images", "objaverse_id", "quality"]
_PART = pa.schema(
    [
        ("place", pa.int64()),
        ("nimg", IMAGE),
        ("seed", pa.int64()),
        ("flag", pa.string()),
        ("retries", pa.list_(pa.string())),
    ]
)


_KNOWN_FAILURES = (cv2.error, np.linalg.LinAlgError, FloatingPointError)


class PaintError(Exception):
    """An engine could not paint this view with this seed; the message is the reason that the report shows."""


class NothingToPaint(Exception):  # noqa: N818
    """No seed would help; the message is the reason that the report shows."""


@dataclass(frozen=True)
class Target:
    """The view to paint a distractor for.

    Attributes:
        id: of the identity.
        slot: 0, 1 or 2.
        image: uint8 `[h, w, 3]`.
        mask: bool `[h, w]`, the identity in `image`.
        class_name: category.
        split: of the identity; other identities may only come from the same one.
        text: foreground text.
        prompt: caption of the scene.
    """

    id: int
    slot: int
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    class_name: str
    split: str
    text: str
    prompt: str


class Engine(Protocol):
    """Paints another instance into views; `Engine(source_settings, dataset_settings, seed, pool)` makes one."""

    needs_pool: ClassVar[bool]
    """Whether it reads other identities' views, so that a rule must wait for all shards of the positives."""

    def __init__(self, source: dict[str, Any], dataset: dict[str, Any], seed: int, pool: Pool) -> None: ...

    def paint(self, target: Target, seed: int) -> NDArray[Any]:
        """A whole frame `[h', w', 3]` of the target's aspect at any resolution; same target and seed, same frame.

        Raises:
            PaintError: it did not come off with this seed.
            NothingToPaint: it cannot come off with any.
        """
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of one view: the PNG or None, the last seed, `PAINTED` or a reason, reasons of the retries."""

    image: bytes | None
    seed: int
    flag: str
    retries: tuple[str, ...]


def paint_shard(settings: dict[str, Any], layout: Layout, shard: str) -> None:
    """Write the distractors of one source for one shard of the positives, and the report beside them.

    A killed run goes on from `distractors/<source>/.progress/<shard>/`; the bytes are those of an undisturbed run.

    Args:
        settings: `{seed, source, source_id, splits, dataset}` (docs/architecture.md); the slots of identities in other
            splits stay empty, without a flag.
        layout: paths of the results folder.
        shard: id of the shard.

    Raises:
        UserError: the engine does not serve this kind of data set, or an input is missing or cut off.
    """
    source_id, positives = settings["source_id"], layout.positives(shard)
    rows = read_rows(positives)
    engine = open_engine(settings["source"], settings["dataset"], settings["seed"], Pool(layout))
    code = step_code("inpaint_shard", settings)
    inputs = [hash_file(positives)] + ([hash_file(layout.identities)] if engine.needs_pool else [])
    target_file = layout.distractors(source_id, shard)
    parts = Parts(target_file.parent / ".progress" / shard, hash_json([settings, code, inputs]))

    asked = [at for at, row in enumerate(rows) if row["split"] in settings["splits"]]
    places = [(at, slot) for at in asked for slot in range(rows[at]["n_images"])]
    outcomes = _read_parts(parts)
    missing = [place for place in range(len(places)) if place not in outcomes]
    fresh: dict[int, Outcome] = {}
    flushed = time.monotonic()
    for place in track(missing, f"{source_id} {shard}", total=len(places), done=len(outcomes)):
        row, slot = places[place]
        target = _read_target(rows[row], slot, positives)
        fresh[place] = paint(engine, target, settings["source"], source_id, settings["seed"])
        if time.monotonic() - flushed > _PART_SECONDS:
            _write_part(parts, fresh)
            outcomes |= fresh
            fresh, flushed = {}, time.monotonic()
    outcomes |= fresh

    found = {places[place]: outcome for place, outcome in outcomes.items()}
    filled = [_fill_row(row, [found.get((at, slot)) for slot in range(MAX_VIEWS)]) for at, row in enumerate(rows)]
    write_table(target_file, columns_of(filled, DISTRACTORS), DISTRACTORS)
    write_json(layout.distractor_report(source_id, shard), _report(rows, found))
    parts.clear()


def paint(engine: Engine, target: Target, source: dict[str, Any], source_id: str, data_seed: int) -> Outcome:
    """One distractor, tried with up to `ATTEMPTS` seeds, each keyed by source, id, slot and attempt."""
    retries: list[str] = []
    seed = 0
    for attempt in range(ATTEMPTS):
        seed = keyed_seed("distractor", data_seed, source_id, target.id, target.slot, attempt)
        try:
            image = finish(engine.paint(target, seed), target, source)
        except NothingToPaint as error:
            return Outcome(None, seed, str(error), tuple(retries))
        except (PaintError, *_KNOWN_FAILURES) as error:
            retries.append(str(error))
        else:
            return Outcome(encode_png(image), seed, PAINTED, tuple(retries))
    return Outcome(None, seed, f"{ATTEMPTS} attempts failed, the last one: {retries[-1]}", tuple(retries))


def finish(painted: NDArray[Any], target: Target, source: dict[str, Any]) -> NDArray[np.uint8]:
    """A painted frame brought to the view's size by Lanczos, blurred, and pasted back where the source says so.

    Raises:
        PaintError: the frame has NaN, is black, or hardly differs from the view inside the mask.
    """
    if not np.isfinite(painted).all():
        raise PaintError("the frame has NaN or infinite values")
    if painted.max() <= _BLACK:
        raise PaintError("the frame is black")
    image = painted.astype(np.uint8)
    height, width = target.mask.shape
    if image.shape[:2] != (height, width):
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    if source["blur_sigma"] > 0:
        image = cv2.GaussianBlur(image, (0, 0), source["blur_sigma"])
    if source["paste_back"]:
        image = paste_back(image, target.image, dilate(target.mask, source["dilate_px"]), source["feather_px"])
    change = np.abs(image[target.mask].astype(float) - target.image[target.mask]).mean()
    if change < _LEAST_CHANGE:
        raise PaintError("hardly any change inside the mask")
    return image


def dilate(mask: NDArray[np.bool_], radius_px: int) -> NDArray[np.bool_]:
    """`mask` grown by a disc of `radius_px`."""
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    disc = (x**2 + y**2 <= radius_px**2).astype(np.uint8)
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def paste_back(
    painted: NDArray[np.uint8], view: NDArray[np.uint8], hole: NDArray[np.bool_], feather_px: int
) -> NDArray[np.uint8]:
    """`painted` inside `hole`, `view` outside it, bit for bit; the blend over `feather_px` lies inside the hole."""
    if feather_px == 0:
        return np.where(hole[..., None], painted, view)
    # Padded, so that the frame's border counts as inside where the hole meets it.
    padded = np.pad(hole.astype(np.uint8), feather_px + 1, mode="edge")
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inner = slice(feather_px + 1, -feather_px - 1)
    weight = np.clip(distance[inner, inner] / (feather_px + 1), 0, 1)[..., None]
    blend = np.rint(weight * painted + (1 - weight) * view).astype(np.uint8)
    return np.where(hole[..., None], blend, view)


def _read_target(row: dict[str, Any], slot: int, path: Path) -> Target:
    where = f"{path}, id {row['id']}, slot {slot}"
    image, mask = (image_bytes(row[f"{column}{slot + 1}"]) for column in ("images", "masks"))
    assert image is not None and mask is not None
    return Target(
        id=row["id"],
        slot=slot,
        image=decode_rgb(image, where),
        mask=decode_mask(mask, where),
        class_name=row["category"],
        split=row["split"],
        text=row["category_description"],
        prompt=row[f"prompts{slot + 1}"],
    )


def _fill_row(positive: Mapping[str, Any], outcomes: Sequence[Outcome | None]) -> dict[str, Any]:
    row: dict[str, Any] = {name: positive[name] for name in _INHERITED}
    for slot, outcome in enumerate(outcomes, start=1):
        row[f"prompts{slot}"] = positive[f"prompts{slot}"]
        row[f"nimg{slot}"] = outcome and outcome.image
        row[f"seed{slot}"] = outcome and outcome.seed
        row[f"flag{slot}"] = outcome and outcome.flag
    return row


def _report(rows: Sequence[Mapping[str, Any]], outcomes: Mapping[tuple[int, int], Outcome]) -> dict[str, Any]:
    """Counts, and each retry and empty slot by identity and slot."""
    named = [({"id": rows[row]["id"], "slot": slot}, outcome) for (row, slot), outcome in sorted(outcomes.items())]
    empty = [place | {"reason": outcome.flag} for place, outcome in named if outcome.image is None]
    return {
        "views": len(named),
        "painted": len(named) - len(empty),
        "empty": empty,
        "empty_by_reason": dict(Counter(place["reason"] for place in empty)),
        "retried": [place | {"reasons": list(outcome.retries)} for place, outcome in named if outcome.retries],
    }


def _write_part(parts: Parts, outcomes: Mapping[int, Outcome]) -> None:
    columns: dict[str, list[Any]] = {
        "place": list(outcomes),
        "nimg": [outcome.image for outcome in outcomes.values()],
        "seed": [outcome.seed for outcome in outcomes.values()],
        "flag": [outcome.flag for outcome in outcomes.values()],
        "retries": [list(outcome.retries) for outcome in outcomes.values()],
    }
    write_table(parts.path(min(outcomes), ".parquet"), columns, _PART)


def _read_parts(parts: Parts) -> dict[int, Outcome]:
    return {
        row["place"]: Outcome(image_bytes(row["nimg"]), row["seed"], row["flag"], tuple(row["retries"]))
        for number in parts.finished(".parquet")
        for row in read_rows(parts.path(number, ".parquet"))
    }
