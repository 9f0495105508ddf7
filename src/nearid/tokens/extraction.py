"""Tokens of a collection, computed in fixed batches and written as one shard; a killed run resumes."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearid.config.variants import FOREGROUND, MASKING, WHOLE, parse
from nearid.errors import UserError
from nearid.io.ahead import threads_ahead
from nearid.io.files import replacing
from nearid.io.hashing import hash_json
from nearid.io.images import naming_pictures, one_large_picture
from nearid.io.progress import track
from nearid.io.resume import Parts
from nearid.tokens.augmentation import PARAMETERS, UNCHANGED, augment, parameters_of
from nearid.tokens.collections import SPLITS, Picture
from nearid.tokens.shard import FORMAT, KEY
from nearid.tokens.writer import describe_inputs, write_shard

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from nearid.tokens.backbones import Backbone

logger = logging.getLogger(__name__)

TOLD = 10  # damaged images listed in the log; the shard lists all
AHEAD = 2  # batches prepared while the model works on one
EVERYTHING = dict.fromkeys(SPLITS, MASKING)


class _Item(NamedTuple):
    picture: Picture
    variant: str
    parameters: NDArray[np.float32]


def extract(
    backbone: Backbone,
    backbone_id: str,
    pictures: Sequence[Picture],
    inputs: Iterable[Path],
    target: Path,
    workers: int = 1,
    variants: Mapping[str, Sequence[str]] = EVERYTHING,
    augmentations: Mapping[str, Mapping[str, float]] | None = None,
    collection: str = "",
    leave_gaps: bool = False,
) -> None:
    """Write the tokens of `pictures` to the shard `target`.

    A picture without a mask has no foreground; the log says how many there are. Batches are formed by position, also in
    a resumed run: rounding depends on a batch's size, and a resumed run must give the same bytes.

    Args:
        backbone: what computes the tokens.
        backbone_id: its id in the config.
        pictures: in the order of the shard.
        inputs: the files that `pictures` come from; batches finished with other contents are not reused.
        target: path of the shard.
        workers: threads that decode and preprocess.
        variants: split -> the variants (`nearid.config.variants`) to extract of its pictures; other splits are skipped.
        augmentations: augmentation id -> the chances that its variants are drawn with.
        collection: its name, a part of the draws' keys.
        leave_gaps: leave out damaged images, with all their variants, and record them in the shard; to find them, every
            image is decoded once more beforehand.

    Raises:
        UserError: an image or mask is damaged without `leave_gaps`, or tokens are not finite in float16.
    """
    masked = {split for split, asked in variants.items() if any(parse(variant)[0] != WHOLE for variant in asked)}
    gaps: list[tuple[int, int, str]] = []
    if leave_gaps:
        gaps = _find_gaps([picture for picture in pictures if variants.get(picture.split)], masked, target, workers)
        left = {(id, slot) for id, slot, _ in gaps}
        pictures = [picture for picture in pictures if (picture.id, picture.slot) not in left]
    items = [
        _Item(picture, variant, parameters_of(variant, augmentations or {}, collection, picture.id, picture.slot))
        for picture in pictures
        for variant in variants.get(picture.split, ())
        if picture.mask is not None or parse(variant)[0] == WHOLE
    ]
    asked = (picture for picture in pictures if picture.split in masked)
    maskless = sum(picture.mask is None for picture in asked)
    if maskless:
        logger.info("%s: %d images have no mask, so no `fg` tokens", target, maskless)
    keys = np.array([(item.picture.id, item.picture.slot, item.variant.encode()) for item in items], KEY)
    attributes = {
        "backbone": backbone_id,
        "weights_hash": backbone.weights_hash,
        "preprocess_hash": backbone.preprocess_hash,
    }
    content = attributes | {"format": FORMAT, "batch_size": backbone.batch_size, "keys": repr(keys.tolist())}
    parameters = np.array([item.parameters for item in items], "<f4").reshape(len(items), len(PARAMETERS))
    extras: dict[str, NDArray[Any]] = {"parameters": parameters} if (parameters != UNCHANGED).any() else {}
    if gaps:
        extras["gaps"] = np.frombuffer(json.dumps(gaps).encode(), np.uint8)
    content |= {name: hashlib.sha256(values.tobytes()).hexdigest() for name, values in extras.items()}
    attributes["inputs"] = describe_inputs(target, inputs)
    attributes["content_key"] = hash_json(content | {"inputs": list(json.loads(attributes["inputs"]).values())})

    batches = [items[start : start + backbone.batch_size] for start in range(0, len(items), backbone.batch_size)]
    parts = Parts(target.parent / ".progress" / target.stem, attributes["content_key"])
    with closing(_blocks(backbone, batches, parts, target.stem, workers)) as blocks:
        write_shard(target, keys, blocks, backbone.token_shape, attributes, extras)
    parts.clear()


def _blocks(
    backbone: Backbone, batches: Sequence[Sequence[_Item]], parts: Parts, label: str, workers: int
) -> Generator[NDArray[np.float16]]:
    """The tokens of each batch; a thread also saves them as a part, kept until the shard is complete."""
    finished = parts.finished(".npy")
    # Parts are saved in order; those after a missing one, which only a person can have deleted, are made again.
    done = next((number for number, part in enumerate(finished) if number != part), len(finished))
    for number in range(done):
        yield np.load(parts.path(number, ".npy"))

    def prepare(number: int) -> Tensor:
        # Closed at once if it is left early: it may hold a lock that other threads wait for.
        batch = batches[number]
        with closing(_pixels(batch)) as pixels, naming_pictures(lambda place: batch[place].picture.where):
            return backbone.preprocess(pixels)

    def launch(number: int, pixels: Tensor) -> tuple[int, Tensor, Tensor, Any]:
        return number, *_to_host(backbone.encode(pixels))

    todo = range(done, len(batches))
    prepared = zip(todo, _map_ahead(prepare, todo, workers), strict=True)
    kept: Future[None] | None = None
    with ThreadPoolExecutor(1) as keeper:
        launched = _one_ahead(launch(number, pixels) for number, pixels in prepared)
        for number, tokens, finite, copied in track(launched, f"tokens {label}", len(batches), done):
            if copied is not None:
                copied.synchronize()
            if not finite.all():
                where = batches[number][int(finite.int().argmin())].picture.where
                raise UserError(
                    where, "tokens that are not finite in float16", "finite tokens", "try `precision: float32`"
                )
            if kept is not None:
                kept.result()
            kept = keeper.submit(_keep, parts.path(number, ".npy"), tokens.numpy())
            yield tokens.numpy()
        if kept is not None:
            kept.result()


def _find_gaps(
    pictures: Sequence[Picture], masked: Container[str], target: Path, workers: int
) -> list[tuple[int, int, str]]:
    """Id, slot and defect of each damaged picture; they are logged too."""

    def check(number: int) -> str | None:
        picture = pictures[number]
        try:
            picture.pixels(FOREGROUND if picture.mask is not None and picture.split in masked else WHOLE)
        except UserError as error:
            return f"{error.where}: {error.found}"
        return None

    found = list(_map_ahead(check, range(len(pictures)), workers))
    damaged = [
        (picture.id, picture.slot, reason)
        for picture, reason in zip(pictures, found, strict=True)
        if reason is not None
    ]
    if damaged:
        told = "".join(f"\n  {reason}" for *_, reason in damaged[:TOLD]) + ("\n  ..." if damaged[TOLD:] else "")
        logger.warning("%s: gaps instead of %d damaged images:%s", target, len(damaged), told)
    return damaged


def _pixels(items: Sequence[_Item]) -> Generator[NDArray[np.uint8]]:
    # A picture is decoded once for all its variants in a batch. They are adjacent, so that only one large picture is in
    # memory at a time.
    for _, draws in groupby(items, key=lambda item: id(item.picture)):
        decoded: dict[str, NDArray[np.uint8]] = {}
        for item in draws:
            masking = parse(item.variant)[0]
            with one_large_picture(item.picture.image):
                if masking not in decoded:
                    decoded[masking] = item.picture.pixels(masking)
                yield augment(decoded[masking], item.parameters)


def _keep(path: Path, tokens: NDArray[np.float16]) -> None:
    with replacing(path) as private, private.open("wb") as stream:
        # Not `np.save`: on a full disk its error does not say so.
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(tokens))
        stream.write(tokens.data)


def _to_host(tokens: Tensor) -> tuple[Tensor, Tensor, torch.cuda.Event | None]:
    """`tokens` as float16, and which images are finite, being copied to the host; the event marks the copy's end."""
    import torch

    tokens = tokens.half()
    finite = tokens.isfinite().flatten(1).all(1)
    if not tokens.is_cuda:
        return tokens, finite, None
    pair = [torch.empty_like(part, device="cpu", pin_memory=True) for part in (tokens, finite)]
    for host, part in zip(pair, (tokens, finite), strict=True):
        host.copy_(part, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return pair[0], pair[1], copied


def _one_ahead(items: Iterable[Any]) -> Iterator[Any]:
    # The device gets the next batch before the host handles the previous one.
    waiting: deque[Any] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def _map_ahead(function: Callable[[int], Any], numbers: Sequence[int], workers: int) -> Iterator[Any]:
    # Like `map` in threads, but only a few results are pending at a time, however long the collection is.
    waiting: deque[Future[Any]] = deque()
    with threads_ahead(workers) as pool:
        for number in numbers:
            waiting.append(pool.submit(function, number))
            if len(waiting) > AHEAD + workers - 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
