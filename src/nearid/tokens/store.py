"""Reads patch tokens from their HDF5 shards (docs/performance.md 2).

A reader asks HDF5 once for the file offsets of all images and then reads them with `preadv`: h5py's fancy indexing is
a hundred times slower, and its global lock keeps threads from reading concurrently.
"""

from __future__ import annotations

import itertools
import logging
import os
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearid.errors import UserError
from nearid.layout import Layout, shard_ids
from nearid.tokens.augmentation import UNCHANGED
from nearid.tokens.shard import DTYPE, Shard
from nearid.tokens.staging import stage

logger = logging.getLogger(__name__)

# What all shards of one store must have in common.
ORIGIN = ("backbone", "weights_hash", "preprocess_hash")
# Reads from this size on are divided among threads: with one request at a time a disk gives half of its bandwidth.
SHARED_BYTES = 32_000_000
READERS = 8


class Keyed:
    """Images that are found by their key (id, slot, variant); `_index` maps a key to its position in `keys`.

    `gaps` are damaged images that were left out as requested: (id, slot) -> reason.
    """

    keys: Any
    gaps: Mapping[tuple[int, int], str] = MappingProxyType({})
    paths: list[Path]
    _index: dict[tuple[int, int, bytes], int]

    def __len__(self) -> int:
        return len(self.keys)

    def contains(self, id: int, slot: int, variant: str) -> bool:
        """Whether this view and variant (`nearid.config.variants`) is there."""
        return (id, slot, variant.encode()) in self._index

    def find(self, id: int, slot: int, variant: str) -> int:
        """Index of this view and variant in `keys`.

        Raises:
            UserError: it is not there.
        """
        try:
            return self._index[id, slot, variant.encode()]
        except KeyError:
            found = f"nothing of id {id}, slot {slot}, variant {variant!r}"
            action = "make the split or source that has it"
            if (id, slot) in self.gaps:
                found, action = f"{found}: a gap ({self.gaps[id, slot]})", "correct the image and extract it again"
            raise UserError(self.paths[0].parent, found, "a key of the collection", action) from None


class TokenStore(Keyed):
    """Reads tokens of one collection from its shards, in any order, from any number of processes and threads.

    Opening a store reads the shards' keys and offsets and checks that they are complete; an image's checksum is checked
    when it is first read (`verify` checks all). Files are opened at the first read, as plain descriptors, which unlike
    HDF5 handles may be used after a fork; pickling drops them.

    Args:
        paths: the shards, in the order that the store's images have.
        staging: a folder of this machine that shards are first copied to and then read from (`nearid.tokens.staging`).
        ram_bytes: the size of a cache in memory, for the images that are read first.

    Raises:
        UserError: a shard is missing, truncated, incomplete or of another format; its images have changed since; shards
            come from different backbones; a key occurs twice.
    """

    def __init__(self, paths: Sequence[Path | str], staging: Path | None = None, ram_bytes: int = 0) -> None:
        if not paths:
            raise UserError("token store", "no shard", "at least one shard", "name the shards of the collection")
        shards = [Shard(Path(path)) for path in paths]
        for shard in shards:
            shard.check_inputs()
        first = shards[0]
        self._shards = shards
        self.paths = [shard.path for shard in shards]
        self.attributes = {name: first.attributes.get(name) for name in ORIGIN}
        self.content_keys = {shard.path: shard.attributes.get("content_key") for shard in shards}
        self.token_shape: tuple[int, int] = first.token_shape
        for shard in shards[1:]:
            found = {name: shard.attributes.get(name) for name in ORIGIN} | {"shape": shard.token_shape}
            expected = self.attributes | {"shape": first.token_shape}
            if found != expected:
                raise UserError(shard.path, str(found), f"{expected} as in {first.path}", "make both shards again")
        self.gaps = {key: reason for shard in shards for key, reason in shard.gaps.items()}
        self.keys: NDArray[np.void] = np.concatenate([shard.keys for shard in shards])
        self._shard_of = np.repeat(np.arange(len(shards)), [len(shard.keys) for shard in shards])
        self._offsets = np.concatenate([shard.offsets for shard in shards])
        self._checksums = np.concatenate([shard.checksums for shard in shards])
        self._checked = np.zeros(len(self.keys), bool)
        self._index = {key: position for position, key in enumerate(self.keys.tolist())}
        if len(self._index) != len(self.keys):
            raise UserError(", ".join(map(str, self.paths)), "a key twice", "each key once", "name each shard once")
        self._descriptors: dict[Path, int] = {}
        self._staging = staging
        self._read_from = stage(self.paths, staging) if staging else list(self.paths)
        self._memory = _Memory(len(self), self.token_shape, ram_bytes)

    @cached_property
    def parameters(self) -> NDArray[np.float32]:
        """How each image was changed before it was extracted [n, 9] (`nearid.tokens.augmentation.PARAMETERS`)."""
        found = [
            np.tile(UNCHANGED, (len(shard.keys), 1)) if shard.parameters is None else shard.parameters
            for shard in self._shards
        ]
        return np.concatenate(found)

    def read(self, indices: Sequence[int] | NDArray[np.integer], out: NDArray[np.float16] | None = None) -> NDArray:
        """Tokens [n, tokens, dim], float16, of the images at `indices`, in their order; repeats are allowed.

        Args:
            indices: positions in `keys`.
            out: contiguous float16 buffer of at least n images, for reuse; the result is a view of its first n.

        Raises:
            UserError: an image is damaged or its file truncated.
            IndexError: an index is out of range.
            ValueError: `out` does not fit.
        """
        indices = np.asarray(indices).astype(np.int64)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"indices {indices.min()} to {indices.max()} of {len(self)} images")
        if out is None:
            out = np.empty((len(indices), *self.token_shape), DTYPE)
        elif out.dtype != DTYPE or not out.flags.c_contiguous or out.shape[1:] != self.token_shape:
            raise ValueError(f"buffer {out.dtype} {out.shape}, expected contiguous {DTYPE} [n, {self.token_shape}]")
        result = out[: len(indices)]
        if len(result) != len(indices):
            raise ValueError(f"buffer of {len(result)} images for {len(indices)}")
        if result.nbytes < SHARED_BYTES:
            self._gather(result, indices)
            return result
        # A new pool for each read: a persistent one would not survive a fork.
        with ThreadPoolExecutor(READERS) as threads:
            shares = [slice(number, None, READERS) for number in range(READERS)]
            for part in [threads.submit(self._gather, result[share], indices[share]) for share in shares]:
                part.result()
        return result

    def _gather(self, images: NDArray[np.float16], indices: NDArray[np.integer]) -> None:
        for image, index in zip(images, indices.tolist(), strict=True):
            if self._memory.recall(index, image):
                continue
            if not self._fetch(index, image) and not (self._leave_staging(index) and self._fetch(index, image)):
                raise self._damaged(index)
            self._checked[index] = True
            self._memory.keep(index, image)

    def _fetch(self, index: int, image: NDArray[np.float16]) -> bool:
        """Read an image; returns whether it is intact."""
        shard = int(self._shard_of[index])
        place = self._read_from[shard]
        try:
            read = os.preadv(self._descriptor(place), [image.data], int(self._offsets[index]))
        except OSError:
            if place == self.paths[shard]:
                raise
            return False
        return read == image.nbytes and bool(self._checked[index] or zlib.crc32(image.data) == self._checksums[index])

    def _leave_staging(self, index: int) -> bool:
        """From now on read an image's shard from its original path; returns whether this store stages shards at all."""
        shard = int(self._shard_of[index])
        staged, path = self._read_from[shard], self.paths[shard]
        if staged != path:
            logger.warning("%s: gone or damaged; %s is read instead", staged, path)
            self._read_from[shard] = path
        return self._staging is not None

    def check_backbone(self, backbone: Any) -> None:
        """Check that `backbone` (`nearid.tokens.backbones.Backbone`) is what made the tokens.

        Raises:
            UserError: its weights or its preprocessing differ.
        """
        for name in ("weights_hash", "preprocess_hash"):
            found, expected = self.attributes[name], getattr(backbone, name)
            if found != expected:
                raise UserError(
                    self.paths[0],
                    f"tokens of {name} {found}",
                    f"{expected}, as the backbone has now",
                    "extract the tokens again (`extract_tokens`)",
                )

    def verify(self) -> None:
        """Check the checksum of every image, and the input files that the tokens were made from if they are there.

        Raises:
            UserError: an image is damaged, or an input file has changed since.
        """
        for shard in self._shards:
            shard.check_inputs(whole=True)
        self._checked[:] = False
        self._memory = self._memory.empty()
        buffer = np.empty((1, *self.token_shape), DTYPE)
        for index in range(len(self)):
            self.read([index], out=buffer)

    def _descriptor(self, path: Path) -> int:
        if path not in self._descriptors:
            opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if self._descriptors.setdefault(path, opened) != opened:  # another thread was faster
                os.close(opened)
        return self._descriptors[path]

    def _damaged(self, index: int) -> UserError:
        id, slot, variant = self.keys[index].tolist()
        return UserError(
            self.paths[self._shard_of[index]],
            f"damaged tokens of id {id}, slot {slot}, variant {variant.decode()!r}",
            f"crc32 {self._checksums[index]:08x}",
            "remove the file and make it again (`extract_tokens`)",
        )

    def close(self) -> None:
        """Close the files; the next read opens them again."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def __del__(self) -> None:
        if hasattr(self, "_descriptors"):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_descriptors": {}, "_memory": self._memory.empty()}


def open_tokens(layout: Layout, backbone_id: str, collection: str, shards: int) -> TokenStore:
    """The tokens of a collection by a backbone, from its `shards` shards.

    Raises:
        UserError: as `TokenStore`.
    """
    return TokenStore([layout.tokens(backbone_id, collection, shard) for shard in shard_ids(shards)])


class _Memory:
    """A cache of the images that were read first, as many as fit; may be used from any thread."""

    def __init__(self, images: int, token_shape: tuple[int, int], size: int) -> None:
        self._images, self._token_shape, self._size = images, token_shape, size
        room = min(images, size // (int(np.prod(token_shape)) * DTYPE.itemsize))
        self._tokens = np.empty((room, *token_shape), DTYPE)
        self._places = np.full(images if room else 0, -1)
        self._next = itertools.count()

    def recall(self, index: int, image: NDArray[np.float16]) -> bool:
        """Fill `image` if it is cached; returns whether it is."""
        if not len(self._tokens) or self._places[index] < 0:
            return False
        image[...] = self._tokens[self._places[index]]
        return True

    def keep(self, index: int, image: NDArray[np.float16]) -> None:
        """Cache an image if there is room."""
        if len(self._tokens) and (place := next(self._next)) < len(self._tokens):
            self._tokens[place] = image
            self._places[index] = place

    def empty(self) -> _Memory:
        """An empty cache of the same size, for another process."""
        return _Memory(self._images, self._token_shape, self._size)
