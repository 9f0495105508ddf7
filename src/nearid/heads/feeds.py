"""Where a step's tokens come from: read from the shards, or computed from the images by the frozen backbone."""

from __future__ import annotations

import itertools
import math
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearid.config.variants import MASKING
from nearid.distributed.devices import choose_device
from nearid.errors import UserError
from nearid.heads.tuples import PADDING, SLOTS, Indices, Tuples
from nearid.io.ahead import threads_ahead
from nearid.io.hashing import hash_file
from nearid.io.images import naming_pictures
from nearid.io.tables import map_table
from nearid.layout import Layout
from nearid.tokens import TokenStore
from nearid.tokens.augmentation import augment
from nearid.tokens.backbones import Backbone
from nearid.tokens.collections import files_of, list_pictures, open_collection, with_raw_masks
from nearid.tokens.staging import prefetch_bytes
from nearid.tokens.store import Keyed
from nearid.workflow.memory import pinned_bytes

SPLITS = ("train", "val")
AHEAD = 8  # batches; a disk that falls further behind is too slow anyway


@dataclass(frozen=True)
class TokenBatch:
    """The tokens of one step.

    Args:
        tuples: the samples; `tuples.images` are positions in the pool.
        tokens: [images, tokens, dim] float16, each image once; overwritten when the next batch is requested.
        slots: [n, 6] position of each slot's image in `tokens`; 0 for padding.
    """

    tuples: Tuples
    tokens: Tensor
    slots: Indices

    @cached_property
    def numbers(self) -> dict[str, Tensor]:
        """`slots` and the tuples' `valid`, `severity`, `picks` and `owners`, on the tokens' device."""
        names = ("valid", "severity", "picks", "owners")
        arrays = {"slots": self.slots} | {name: getattr(self.tuples, name) for name in names}
        return {name: place(torch.from_numpy(array), self.tokens.device) for name, array in arrays.items()}


class TrainingPool(ABC):
    """The images of several collections, numbered consecutively.

    Args:
        stores: collection -> its images.
    """

    def __init__(self, stores: Mapping[str, Any]) -> None:
        self.stores: dict[str, Any] = dict(stores)
        self._starts = np.cumsum([0, *(len(store) for store in self.stores.values())])

    def find(self, collection: str, id: int, slot: int, variant: str) -> int:
        """Position of an image in the pool.

        Raises:
            UserError: there is no such image.
        """
        return int(self._starts[list(self.stores).index(collection)]) + self.stores[collection].find(id, slot, variant)

    def name(self, position: int) -> str:
        """`collection/id/slot/variant` of a position in the pool, for messages."""
        collection, place = self.locate(position)
        id, slot, variant = self.stores[collection].keys[place]
        return f"{collection}/{id}/{slot}/{variant.decode()}"

    def locate(self, position: int) -> tuple[str, int]:
        """Collection of a position in the pool, and the position in it."""
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        return list(self.stores)[number], int(position - self._starts[number])

    @abstractmethod
    def content_keys(self) -> dict[Path, str]:
        """File -> what identifies its content."""

    def ahead(self, capacity: int) -> int:
        """How many batches of `capacity` samples to load ahead of the current one."""
        return 1

    @abstractmethod
    def open(self, capacity: int, held: int) -> Callable[[Tuples], TokenBatch]:
        """A function that loads batches of at most `capacity` samples; the last `held` of them stay valid."""


class TokenPool(TrainingPool):
    """Cached tokens of one backbone.

    Args:
        stores: collection -> its tokens.

    Raises:
        UserError: the collections come from different backbones.
    """

    def __init__(self, stores: Mapping[str, TokenStore]) -> None:
        super().__init__(stores)
        first, *others = self.stores.values()
        self.token_shape = first.token_shape
        for store in others:
            if (store.attributes, store.token_shape) != (first.attributes, first.token_shape):
                raise UserError(
                    store.paths[0],
                    f"{store.attributes}, tokens {store.token_shape}",
                    f"{first.attributes}, tokens {first.token_shape}, as in {first.paths[0]}",
                    "extract both collections with the same backbone",
                )

    def content_keys(self) -> dict[Path, str]:
        """Shard -> its content key."""
        return {path: str(key) for store in self.stores.values() for path, key in store.content_keys.items()}

    def check_backbone(self, backbone: Backbone) -> None:
        """Check that the tokens come from `backbone`, whose own head training starts from.

        Raises:
            UserError: they do not.
        """
        for store in self.stores.values():
            store.check_backbone(backbone)

    def read(self, positions: Indices, out: NDArray[np.float16]) -> NDArray[np.float16]:
        """Tokens [n, tokens, dim] of ascending `positions`, read into the first n of `out`."""
        edges = np.searchsorted(positions, self._starts)
        for store, start, low, high in zip(self.stores.values(), self._starts, edges, edges[1:], strict=False):
            if high > low:
                store.read(positions[low:high] - start, out=out[low:high])
        return out[: len(positions)]

    def ahead(self, capacity: int) -> int:
        """How many batches fit into `prefetch_bytes` beside the current one; at least one."""
        size = capacity * 2 * SLOTS * math.prod(self.token_shape) * torch.float16.itemsize
        if choose_device().type == "cuda":
            size = pinned_bytes(size)
        return max(1, min(AHEAD, prefetch_bytes() // size - 1))

    def open(self, capacity: int, held: int) -> Callable[[Tuples], TokenBatch]:
        """A function that reads batches of at most `capacity` samples, into `held` buffers in turn."""
        shape = (capacity * 2 * SLOTS, *self.token_shape)
        # Reused: large new ones would cost page faults at every step. Pinned memory is copied to a GPU twice as fast.
        pinned = choose_device().type == "cuda"
        empty = [torch.empty(shape, dtype=torch.float16, pin_memory=pinned) for _ in range(held)]
        buffers = itertools.cycle([buffer.numpy() for buffer in empty])

        def load(tuples: Tuples) -> TokenBatch:
            images, inverse = np.unique(tuples.images, return_inverse=True)
            padded = int(images[0] == PADDING)
            slots = np.maximum(inverse.reshape(tuples.images.shape) - padded, 0)
            return TokenBatch(tuples, torch.from_numpy(self.read(images[padded:], next(buffers))), slots)

        return load


class ImageStore(Keyed):
    """The images of a collection's training and validation identities, decoded on access.

    Args:
        layout: paths of the results folder.
        collection: `positives`, a source or `mtg_train`.
        shards: ids of its shards.
        raw_masks: mask foregrounds with the data set's own masks instead of the cleaned ones.
    """

    def __init__(self, layout: Layout, collection: str, shards: Sequence[str], raw_masks: bool = False) -> None:
        self._layout, self._collection = layout, collection
        self._read = with_raw_masks(self._read_kept) if raw_masks else self._read_kept
        self._tables: dict[tuple[Path, tuple[str, ...]], pa.Table] = {}
        self.keys: list[tuple[int, int, bytes]] = []
        self._places: list[tuple[str, int]] = []
        for shard in shards:
            for row, id, slot, masked in list_pictures(layout, collection, shard, SPLITS, self._read):
                variants = MASKING if masked else MASKING[:1]
                self.keys += [(id, slot, variant.encode()) for variant in variants]
                self._places += [(shard, row)] * len(variants)
        self._index = {key: place for place, key in enumerate(self.keys)}
        self.paths = [path for shard in shards for path in files_of(layout, collection, shard)]

    def pixels(self, place: int) -> NDArray[np.uint8]:
        """Pixels [h, w, 3] of the image at `place` of `keys`.

        Raises:
            UserError: image or mask is damaged.
        """
        (shard, row), (_, slot, variant) = self._places[place], self.keys[place]

        def read(path: Path, columns: Sequence[str]) -> pa.Table:
            return self._read(path, columns).slice(row, 1)

        pictures, _ = open_collection(self._layout, self._collection, shard, SPLITS, read)
        (picture,) = (picture for picture in pictures if picture.slot == slot)
        return picture.pixels(variant.decode())

    def _read_kept(self, path: Path, columns: Sequence[str]) -> pa.Table:
        key = path, tuple(columns)
        if key not in self._tables:
            self._tables[key] = map_table(path, columns, self._layout.image_copies)
        return self._tables[key]


class ImagePool(TrainingPool):
    """Images that are augmented, and encoded by the frozen backbone, anew for every batch.

    The backbone encodes each combination of image and augmentation in a batch once, however many slots and heads use
    it, and never encodes padding.

    Args:
        stores: collection -> its images.
        backbone: computes the tokens.
    """

    def __init__(self, stores: Mapping[str, ImageStore], backbone: Backbone) -> None:
        super().__init__(stores)
        self._backbone = backbone
        self._workers = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "images")

    def content_keys(self) -> dict[Path, str]:
        """File -> hash of its content."""
        return {path: hash_file(path) for store in self.stores.values() for path in store.paths}

    def open(self, capacity: int, held: int) -> Callable[[Tuples], TokenBatch]:
        """A function that decodes, augments and encodes batches."""
        size = self._backbone.batch_size

        def prepare(shown: NDArray[np.float64]) -> Tensor:
            with naming_pictures(lambda place: self._name(shown[place, 0])):
                return self._backbone.preprocess(self._read(position, parameters) for position, *parameters in shown)

        def load(tuples: Tuples) -> TokenBatch:
            shown = np.concatenate([tuples.images[..., None], tuples.augmentation], axis=-1, dtype=np.float64)
            images, inverse = np.unique(shown[tuples.valid], axis=0, return_inverse=True)
            slots = np.zeros(tuples.images.shape, np.int64)
            slots[tuples.valid] = inverse.ravel()
            parts = self._workers.map(prepare, (images[start : start + size] for start in range(0, len(images), size)))
            # Rounded to float16 like the shards, so that both feeds give the same tokens.
            return TokenBatch(tuples, torch.cat([self._backbone.encode(pixels).half() for pixels in parts]), slots)

        return load

    def _name(self, position: float) -> str:
        collection, place = self.locate(int(position))
        id, slot, _ = self.stores[collection].keys[place]
        return f"{collection}, id {id}, slot {slot}"

    def _read(self, position: float, parameters: Sequence[float]) -> NDArray[np.uint8]:
        collection, place = self.locate(int(position))
        pixels = self.stores[collection].pixels(place)
        return augment(pixels, np.asarray(parameters, np.float32)) if parameters else pixels


def load_batches(
    pool: TrainingPool, batches: Iterable[Tuples], capacity: int, ahead: int = 0, device: torch.device | None = None
) -> Generator[TokenBatch]:
    """Batches of at most `capacity` samples, in order; a thread loads the next ones while the caller works on one.

    An error in the thread is raised when its batch is requested.

    Args:
        pool: loads them.
        batches: the samples of each.
        capacity: number of samples of the largest.
        ahead: how many are loaded ahead; 0 leaves it to the pool.
        device: a GPU that the tokens are copied to (`bring`); otherwise they stay where the pool puts them.
    """
    read = _read_ahead(pool, batches, capacity, ahead)
    if device is None or device.type == "cpu":
        return read
    return bring(read, Carrier(device))


def _read_ahead(pool: TrainingPool, batches: Iterable[Tuples], capacity: int, ahead: int) -> Generator[TokenBatch]:
    ahead = ahead or pool.ahead(capacity)
    load = pool.open(capacity, ahead + 1)
    waiting: deque[Future[TokenBatch]] = deque()
    with threads_ahead(1, "batches") as reader:
        for tuples in batches:
            # The caller asks for the next batch, so it has finished with the previous one.
            waiting.append(reader.submit(load, tuples))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Carrier:
    """Copies tokens to a GPU on a separate stream, concurrently with computation."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def send(self, tokens: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        """The tokens being copied to the GPU, and the event of their arrival."""
        with torch.cuda.stream(self._stream):
            there = tokens.to(self._device, non_blocking=True)
            return there, self._stream.record_event()

    def receive(self, tokens: Tensor, arrival: torch.cuda.Event) -> None:
        """Make later computations wait for `tokens` on the GPU; the host does not wait."""
        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(arrival)
        tokens.record_stream(computing)


def bring(batches: Generator[TokenBatch], carrier: Any) -> Generator[TokenBatch]:
    """The batches with their tokens on a device; the next one is copied while the caller works on one.

    Args:
        batches: their tokens, in pinned memory or on the device, are overwritten when the next batch is requested.
        carrier: a `Carrier`.
    """
    sent: tuple[TokenBatch, Any] | None = None
    try:
        for batch in batches:
            tokens, arrival = carrier.send(batch.tokens)
            if sent is not None:
                carrier.receive(sent[0].tokens, sent[1])
                yield sent[0]
            sent = replace(batch, tokens=tokens), arrival
            # The next request overwrites this batch's host memory.
            arrival.synchronize()
        if sent is not None:
            carrier.receive(sent[0].tokens, sent[1])
            yield sent[0]
    finally:
        batches.close()


def place(tensor: Tensor, device: torch.device) -> Tensor:
    """A small `tensor` on `device`; it is copied to a GPU from pinned memory, so that the host does not wait."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
