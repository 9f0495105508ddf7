"""From views to distractors of one source: decode, paint, finish, retry, keep progress."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from numpy.typing import NDArray

from nearid.config import step_code
from nearid.data.records import MAX_VIEWS
from nearid.data.schema import DISTRACTORS, columns_of, read_rows
from nearid.distractors.engines import open_engine
from nearid.distractors.finishing import dilate, finish
from nearid.distractors.pool import Pool
from nearid.distractors.protocol import KNOWN_FAILURES, BaseEngine, NothingToPaint, PaintError, Prompt, Target
from nearid.errors import UserError
from nearid.io.ahead import threads_ahead
from nearid.io.files import write_json
from nearid.io.hashing import hash_file, hash_json
from nearid.io.images import decode_rgb, decode_stored_mask, encode_png
from nearid.io.progress import track
from nearid.io.randomness import keyed_seed
from nearid.io.resume import Parts
from nearid.io.tables import IMAGE, image_bytes, write_table
from nearid.layout import Layout

if TYPE_CHECKING:
    from nearid.config.settings.distractors import InpaintShard, Source
    from nearid.distractors.prompts import StoredPrompts

ATTEMPTS = 4
"""Seeds that are tried for one view before its slot stays empty."""
PAINTED = "ok"
"""Flag of a painted slot; any other flag is the reason why a slot is empty."""
# Views usually have one megapixel. Much larger ones could exhaust memory, which holds a batch several times over.
MAX_BATCH_PIXELS = 32_000_000
ALWAYS_PAINTED_PIXELS = 2_000_000
"""A view up to this size is painted, whatever the batch size."""
MAX_ASPECT = 16
"""Of long side to short side: a longer view would become huge where `working_px` is the short side."""

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


Prompts = Mapping[str, Prompt]
"""Embeddings by text."""


@dataclass(frozen=True)
class Outcome:
    """The result for one view: its PNG or None, the last seed, `PAINTED` or a reason, and why seeds were retried."""

    image: bytes | None
    seed: int
    flag: str
    retries: tuple[str, ...]


def paint_shard(settings: InpaintShard, layout: Layout, shard: str, parts: int = 1) -> None:
    """Write the distractors of one source for one shard of the positives, and the report beside them.

    A killed run resumes from `distractors/<source>/.progress/<shard>/`; its result has the same bytes as that of an
    uninterrupted run.

    Args:
        settings: the source, the data set, its seed and the splits that are painted; slots of identities in other
            splits stay empty, without a flag.
        layout: paths of the results folder.
        shard: id of the shard.
        parts: 1 paints the shard here; a larger number means that so many calls of `paint_part` have painted it.

    Raises:
        UserError: the engine does not support this kind of data set, an input is missing or truncated, or an image that
            a part should have painted is missing.
    """
    work = _Work(settings, layout, shard)
    if parts == 1:
        work.paint(work.batches)
    outcomes = _read_parts(work.progress)
    missing = [place for place in range(len(work.places)) if place not in outcomes]
    source_id = settings.source_id
    if missing:
        raise UserError(
            f"distractors of {source_id}, shard {shard}",
            f"{len(missing)} of {len(work.places)} images are not painted, though {parts} parts are said to be",
            f"all of them in {work.progress.folder}, painted by this code under these settings",
            f"delete {layout.painted(source_id, shard, '*', '*')} and start again: only what is missing is painted",
        )
    found = {work.places[place]: outcome for place, outcome in outcomes.items()}
    filled = [_fill_row(row, [found.get((at, slot)) for slot in range(MAX_VIEWS)]) for at, row in enumerate(work.rows)]
    target = layout.distractors(source_id, shard)
    write_table(target, columns_of(filled, DISTRACTORS), DISTRACTORS)
    write_json(layout.distractor_report(source_id, shard), {"parts": parts, **_report(work.rows, found)})
    work.progress.clear()
    for mark in target.parent.glob(layout.painted(source_id, shard, "*", "*").name):
        if not mark.name.endswith(f"of{parts}"):
            mark.unlink(missing_ok=True)  # from a division into another number of parts


def paint_part(settings: InpaintShard, layout: Layout, shard: str, part: int, parts: int) -> None:
    """Paint part `part` (1, 2, …) of a shard and keep the images for `paint_shard`.

    Parts may be painted concurrently, and images that are there already are not painted again, even if the shard was
    divided otherwise. A part consists of whole batches, so its images equal those of a shard painted as a whole.

    Raises:
        UserError: as `paint_shard`.
    """
    work = _Work(settings, layout, shard)
    count = len(work.batches)
    work.paint(work.batches[count * (part - 1) // parts : count * part // parts], f" {part}/{parts}")


class _Work:
    """The images to be painted for a shard.

    Attributes:
        rows: of the positives, without pictures.
        places: (row, slot) of each image, in order.
        batches: positions in `places` of each batch. They are fixed, since rounding depends on a batch's size and
            order: a resumed run, or a part, must form the same batches.
        progress: where painted images are kept.
    """

    def __init__(self, settings: InpaintShard, layout: Layout, shard: str) -> None:
        self._settings, self._source, self._shard = settings, settings.source, shard
        self._positives = layout.positives(shard)
        self._engine = open_engine(self._source, settings.dataset, settings.seed, Pool(layout))
        inputs = [hash_file(self._positives)] + ([hash_file(layout.identities)] if self._engine.needs_pool else [])
        key = hash_json([settings.given, step_code("inpaint_shard", settings.given), inputs])
        self.progress = Parts(layout.distractors(settings.source_id, shard).parent / ".progress" / shard, key)
        self.rows = read_rows(
            self._positives, [*_INHERITED, "split", *(f"prompts{slot + 1}" for slot in range(MAX_VIEWS))]
        )
        self._asked = [at for at, row in enumerate(self.rows) if row["split"] in settings.splits]
        self.places = [(at, slot) for at in self._asked for slot in range(self.rows[at]["n_images"])]
        count, size = len(self.places), self._engine.batch_size
        self.batches = [range(start, min(start + size, count)) for start in range(0, count, size)]

    def paint(self, batches: Sequence[range], named: str = "") -> None:
        """Paint the missing images of these batches into `progress`; `named` is appended to their name in the log."""
        done = set(_painted_places(self.progress))
        missing = [batch for batch in batches if batch.start not in done]
        if not missing:
            return
        pictures = read_rows(self._positives)
        prompts = self._open_prompts(place for batch in missing for place in batch)
        views = ([self._read_target(pictures, place) for place in batch] for batch in missing)
        source_id, total = self._settings.source_id, sum(map(len, batches))
        painted = self._paint_views(prompts, views)
        places = (place for batch in missing for place in batch)
        labelled = track(
            zip(places, painted, strict=True),
            f"{source_id} {self._shard}{named}",
            total=total,
            done=total - sum(map(len, missing)),
        )
        fresh: dict[int, Outcome] = {}
        flushed = time.monotonic()
        for place, outcome in labelled:
            fresh[place] = outcome
            whole = (place + 1) % self._engine.batch_size == 0
            if whole and time.monotonic() - flushed > _PART_SECONDS:
                _write_part(self.progress, fresh)
                fresh, flushed = {}, time.monotonic()
        if fresh:
            _write_part(self.progress, fresh)
        if prompts is not None:
            # With T5 a text takes 4 MB: those of all shards, painted side by side, would take 160 GB.
            own = {place for batch in batches for place in batch}
            prompts.clear(needed=self._texts(place for place in range(len(self.places)) if place not in own))

    def _texts(self, places: Iterable[int]) -> set[str]:
        return {self.rows[self.places[place][0]]["category_description"] for place in places}

    def _open_prompts(self, places: Iterable[int]) -> StoredPrompts | None:
        """The embeddings that painting these places reads; None if the engine reads none."""
        if not self._engine.reads_prompts:
            return None
        from nearid.distractors.prompts import StoredPrompts

        texts = [self.rows[at]["category_description"] for at in self._asked]
        return StoredPrompts(texts, self._texts(places), self._engine.encode, self.progress)

    def _read_target(self, pictures: Sequence[dict[str, Any]], place: int) -> Target | Outcome:
        at, slot = self.places[place]
        size, dilate_px = self._engine.batch_size, self._source.dilate_px
        return _read_target(pictures[at], slot, self._positives, size, dilate_px)

    def _paint_views(self, prompts: Prompts | None, views: Iterable[list[Target | Outcome]]) -> Iterator[Outcome]:
        seen, shown = itertools.tee(views)
        targets = ([view for view in batch if isinstance(view, Target)] for batch in shown)
        seed, source_id = self._settings.seed, self._settings.source_id
        painted = paint_batches(self._engine, prompts, targets, self._source, source_id, seed)
        for batch, outcomes in zip(seen, painted, strict=True):
            finished = iter(outcomes)
            for view in batch:
                yield view if isinstance(view, Outcome) else next(finished)


def paint_batches(
    engine: BaseEngine,
    prompts: Prompts | None,
    batches: Iterable[Sequence[Target]],
    source: Source[Any],
    source_id: str,
    data_seed: int,
) -> Iterator[list[Outcome]]:
    """For each batch a distractor per target, tried with up to `ATTEMPTS` seeds keyed by source, id, slot and attempt.

    Frames are finished and encoded by threads while `engine` paints the next batch: a GPU does not wait for PNGs. The
    failed targets of a batch are painted again by themselves, so that their frames do not depend on other batches.
    """

    def attempt(number: int, targets: Sequence[Target]) -> list[_Attempt]:
        seeds = [keyed_seed("distractor", data_seed, source_id, each.id, each.slot, number) for each in targets]
        asked = [{} if prompts is None else prompts[each.text] for each in targets]
        frames = engine.paint_batch(targets, seeds, asked) if targets else []
        return [
            _Attempt(
                target, seed, frame if isinstance(frame, Exception) else pool.submit(_finish, frame, target, source)
            )
            for target, seed, frame in zip(targets, seeds, frames, strict=True)
        ]

    def settle(first: Sequence[_Attempt]) -> list[Outcome]:
        retries: list[list[str]] = [[] for _ in first]
        outcomes: dict[int, Outcome] = {}
        tried = dict(enumerate(first))
        for number in range(ATTEMPTS):
            for at, one in tried.items():
                result = one.result()
                if isinstance(result, bytes):
                    outcomes[at] = Outcome(result, one.seed, PAINTED, tuple(retries[at]))
                elif isinstance(result, NothingToPaint):
                    outcomes[at] = Outcome(None, one.seed, str(result), tuple(retries[at]))
                else:
                    retries[at].append(str(result))
            waiting = [at for at in range(len(first)) if at not in outcomes]
            if number == ATTEMPTS - 1 or not waiting:
                break
            tried = dict(zip(waiting, attempt(number + 1, [first[at].target for at in waiting]), strict=True))
        for at, one in tried.items():
            if at not in outcomes:
                reason = f"{ATTEMPTS} attempts failed, the last one: {retries[at][-1]}"
                outcomes[at] = Outcome(None, one.seed, reason, tuple(retries[at]))
        return [outcomes[at] for at in range(len(first))]

    with threads_ahead(len(os.sched_getaffinity(0)), "finish") as pool:
        waiting: list[_Attempt] | None = None
        for targets in batches:
            painted = attempt(0, targets)
            if waiting is not None:
                yield settle(waiting)
            waiting = painted
        if waiting is not None:
            yield settle(waiting)


@dataclass(frozen=True)
class _Attempt:
    """A target painted with one seed: the future of its PNG, or why there is none."""

    target: Target
    seed: int
    painted: Future[bytes] | PaintError | NothingToPaint

    def result(self) -> bytes | Exception:
        if isinstance(self.painted, Exception):
            return self.painted
        try:
            return self.painted.result()
        except (PaintError, *KNOWN_FAILURES) as error:
            return error


def _finish(frame: NDArray[Any], target: Target, source: Source[Any]) -> bytes:
    return encode_png(finish(frame, target, source))


def _read_target(row: dict[str, Any], slot: int, path: Path, batch_size: int, dilate_px: int) -> Target | Outcome:
    """The view to paint for, or the outcome if it is one that no engine can use."""
    where = f"{path}, id {row['id']}, slot {slot}"
    image, mask = (image_bytes(row[f"{column}{slot + 1}"]) for column in ("images", "masks"))
    if image is None or mask is None:
        return Outcome(None, 0, "no view" if image is None else "no mask", ())
    try:
        pixels, object_mask = decode_rgb(image, where), decode_stored_mask(mask, where)
    except UserError as error:
        return Outcome(None, 0, f"the view or its mask cannot be read: {error.found}", ())
    height, width = object_mask.shape
    most = max(MAX_BATCH_PIXELS // batch_size, ALWAYS_PAINTED_PIXELS)
    if height * width > most or max(height, width) > MAX_ASPECT * min(height, width):
        allowed = f"{most:,} px and a long side of {MAX_ASPECT} times the short one are painted"
        return Outcome(None, 0, f"a view of {width} x {height} px; {allowed}", ())
    if not object_mask.any():
        return Outcome(None, 0, "empty mask", ())
    return Target(
        id=row["id"],
        slot=slot,
        image=pixels,
        mask=object_mask,
        hole=dilate(object_mask, dilate_px),
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


def _painted_places(parts: Parts) -> Iterator[int]:
    for number in parts.finished(".parquet"):
        yield from (row["place"] for row in read_rows(parts.path(number, ".parquet"), ["place"]))


def _read_parts(parts: Parts) -> dict[int, Outcome]:
    return {
        row["place"]: Outcome(image_bytes(row["nimg"]), row["seed"], row["flag"], tuple(row["retries"]))
        for number in parts.finished(".parquet")
        for row in read_rows(parts.path(number, ".parquet"))
    }
