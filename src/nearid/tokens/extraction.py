"""Tokens of a collection, computed in fixed batches and written as one shard; a killed run goes on where it was."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nearid.errors import UserError
from nearid.io.files import replacing
from nearid.io.hashing import hash_file, hash_json
from nearid.io.progress import track
from nearid.io.resume import Parts
from nearid.tokens.collections import Picture
from nearid.tokens.store import FORMAT, KEY, write_shard

if TYPE_CHECKING:
    from torch import Tensor

    from nearid.tokens.backbones import Backbone

AHEAD = 2  # batches prepared while the model works on one
Batch = list[tuple[Picture, str]]


def extract(
    backbone: Backbone,
    backbone_id: str,
    pictures: Sequence[Picture],
    inputs: Iterable[Path],
    target: Path,
    workers: int = 1,
) -> None:
    """Write the tokens of `pictures`, variants `full` and `fg`, to the shard `target`.

    A picture without a mask has no `fg` tokens; how many there are is reported. Batches are cut by position, never by
    where an earlier try ended: the rounding of a batch depends on its size, and a resumed run must give the same bytes.

    Args:
        backbone: what computes the tokens.
        backbone_id: its id in the config.
        pictures: in the order of the shard.
        inputs: the files that `pictures` come from; finished batches of other contents are not used.
        target: path of the shard.
        workers: threads that decode and preprocess.

    Raises:
        UserError: an image or mask is damaged, or its tokens do not fit into float16.
    """
    items: Batch = [(picture, variant) for picture in pictures for variant in _variants(picture)]
    maskless = sum(picture.mask is None for picture in pictures)
    if maskless:
        print(f"{target}: {maskless} images have no mask, so no `fg` tokens", file=sys.stderr)
    keys = np.array([(picture.id, picture.slot, variant.encode()) for picture, variant in items], KEY)
    attributes = {
        "backbone": backbone_id,
        "weights_hash": backbone.weights_hash,
        "preprocess_hash": backbone.preprocess_hash,
    }
    content = attributes | {"format": FORMAT, "batch_size": backbone.batch_size, "keys": repr(keys.tolist())}
    content_key = hash_json(content | {"inputs": [hash_file(path) for path in inputs]})

    batches = [items[start : start + backbone.batch_size] for start in range(0, len(items), backbone.batch_size)]
    parts = Parts(target.parent / ".progress" / target.stem, content_key)
    done = set(parts.finished(".npy"))
    todo = [number for number in range(len(batches)) if number not in done]

    def prepare(number: int) -> Tensor:
        return backbone.preprocess([picture.pixels(variant) for picture, variant in batches[number]])

    prepared = zip(todo, _map_ahead(prepare, todo, workers), strict=True)
    for number, pixels in track(prepared, f"tokens {target.stem}", len(batches), len(done)):
        tokens = backbone.encode(pixels).half().cpu().numpy()
        finite = np.isfinite(tokens).all((1, 2))
        if not finite.all():
            where = batches[number][int(finite.argmin())][0].where
            raise UserError(where, "tokens that are not finite in float16", "finite tokens", "try `precision: float32`")
        with replacing(parts.path(number, ".npy")) as private, private.open("wb") as stream:
            np.save(stream, tokens)

    blocks = (np.load(parts.path(number, ".npy")) for number in range(len(batches)))
    write_shard(target, keys, blocks, backbone.token_shape, attributes | {"content_key": content_key})
    parts.clear()


def _variants(picture: Picture) -> tuple[str, ...]:
    return ("full",) if picture.mask is None else ("full", "fg")


def _map_ahead(function: Callable[[int], Any], numbers: Sequence[int], workers: int) -> Iterator[Any]:
    # As `map` in threads, but never more than a few results wait, however long the collection is.
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for number in numbers:
                waiting.append(pool.submit(function, number))
                if len(waiting) > AHEAD + workers - 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
