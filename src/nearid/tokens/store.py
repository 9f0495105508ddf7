"""HDF5 shards of patch tokens and their reader (docs/performance.md 2).

A shard is written once, whole, under a private name, and never changed. Each image is one chunk at a 4 KiB boundary,
neither compressed nor filtered, so that a reader asks HDF5 for the chunks' places in the file once and then reads them
with `preadv`: h5py's fancy indexing is a hundred times slower, and its one lock keeps threads from reading together.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nearid.errors import UserError
from nearid.io.files import replacing
from nearid.io.hashing import hash_file
from nearid.layout import Layout, shard_ids
from nearid.tokens.augmentation import UNCHANGED
from nearid.tokens.staging import stage

FORMAT = "nearid-tokens-1"
KEY = np.dtype([("id", "<i8"), ("slot", "<i2"), ("variant", "S16")])
# What plain variants need; shards without others stay as they always were.
SHORT = np.dtype("S8")
# What stands beside keys and checksums where there is anything to tell: how each image was changed [n, 9]; and which
# images were damaged, as bytes of JSON [[id, slot, reason], ...].
EXTRAS = ("parameters", "gaps")
DTYPE = np.dtype("<f2")
# From this version on HDF5 keeps checksums of its own structures; before, one flipped bit there ends the process.
LIBVER = ("v110", "v110")
# What all shards of one store must have in common.
ORIGIN = ("backbone", "weights_hash", "preprocess_hash")
# Images that are checked, written and pushed to the disk at the same time.
STRIDE = 64
# A read of so many bytes is shared by threads: a disk with one request at a time gives half of what it could.
SHARED_BYTES = 32_000_000
READERS = 8


def write_shard(
    target: Path | str,
    keys: NDArray[np.void],
    blocks: Iterable[NDArray[np.float16]],
    token_shape: tuple[int, int],
    attributes: Mapping[str, Any],
    extras: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write a shard atomically; equal content gives equal bytes.

    Threads form checksums, write and flush while `blocks` makes the next block, which must not touch the one before.

    Args:
        target: the shard's path.
        keys: one of `KEY` per image, all different.
        blocks: the tokens [images, tokens, dim] in the order of `keys`, cut anywhere.
        token_shape: (tokens, dim) of one image.
        attributes: `backbone`, `weights_hash`, `preprocess_hash`, `content_key`, `inputs` (see `describe_inputs`), ...:
            strings or numbers.
        extras: arrays of `EXTRAS`, those that there are.

    Raises:
        ValueError: keys repeat, or blocks and keys differ in number.
        OSError: the disk is full, ...
    """
    if len(np.unique(keys)) != len(keys):
        raise ValueError(f"{target}: keys repeat")
    longest = int(np.char.str_len(keys["variant"]).max(initial=0))
    variants = keys["variant"].astype(SHORT) if longest <= SHORT.itemsize else keys["variant"]
    sides = {"ids": keys["id"], "slots": keys["slot"], "variants": variants}
    sides = {name: np.ascontiguousarray(side) for name, side in sides.items()}
    sides["crc32"] = np.zeros(len(keys), "<u4")
    sides |= extras or {}
    chunk_bytes = int(np.prod(token_shape)) * DTYPE.itemsize
    with replacing(target) as private, _create(private, chunk_bytes) as shard:
        dataset = shard.create_dataset(
            "tokens",
            shape=(len(keys), *token_shape),
            # HDF5 takes no chunks larger than a data set that cannot grow, so an empty one may.
            maxshape=(len(keys) or None, *token_shape),
            chunks=(1, *token_shape),
            dtype=DTYPE,
            track_times=False,
        )
        with _Writer(private, dataset, sides["crc32"]) as writer:
            for block in blocks:
                writer.put(np.ascontiguousarray(block, DTYPE))
        if writer.count != len(keys):
            raise ValueError(f"{target}: {writer.count} images for {len(keys)} keys")
        for name, side in sides.items():
            shard.create_dataset(name, data=side, track_times=False)
        header = {"format": FORMAT, "n": len(keys), **attributes}
        header |= {"header_crc32": _checksum(header, sides), "complete": True}
        # Text of fixed length lies among HDF5's checksummed structures; elsewhere one flipped bit can hang the reader.
        shard.attrs.update(
            {name: np.bytes_(value.encode()) if isinstance(value, str) else value for name, value in header.items()}
        )


def describe_inputs(target: Path, inputs: Iterable[Path]) -> str:
    """The files that a shard `target` is made from, as JSON: path from its folder -> SHA-256."""
    return json.dumps({os.path.relpath(path, target.parent): hash_file(path) for path in inputs})


@contextmanager
def _create(path: Path, chunk_bytes: int) -> Iterator[h5py.File]:
    alignment = {"alignment_threshold": chunk_bytes, "alignment_interval": 4096}
    shard = h5py.File(path, "w", libver=LIBVER, locking=False, **alignment)
    try:
        try:
            yield shard
        except BaseException:
            # On a full disk it cannot even be closed; the first error is the one to tell.
            with suppress(Exception):
                shard.close()
            raise
        shard.close()
    except RuntimeError as error:
        # HDF5 wraps some errors of the system in its own words.
        wrapped = re.search(r"errno = (\d+)", str(error))
        if wrapped is None:
            raise
        raise OSError(int(wrapped[1]), os.strerror(int(wrapped[1])), str(path)) from error


class _Writer:
    """Writes images to a data set one after the other, and their checksums to `checksums`."""

    def __init__(self, path: Path, dataset: h5py.Dataset, checksums: NDArray[np.uint32]) -> None:
        self.count = 0
        self._dataset, self._checksums, self._path = dataset, checksums, path
        self._threads = ThreadPoolExecutor(3)
        self._busy: list[Future[None]] = []

    def __enter__(self) -> _Writer:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()
        os.close(self._descriptor)
        self._wait()

    def put(self, block: NDArray[np.float16]) -> None:
        """Take the next images, and come back before the last of them are written."""
        for start in range(0, len(block), STRIDE):
            images = block[start : start + STRIDE]
            self._wait()
            if self.count + len(images) <= len(self._checksums):
                # The disk works on what was written while the next is copied; else `fsync` would wait for all at once.
                jobs = (self._check, self._write)
                self._busy = [self._threads.submit(job, self.count, images) for job in jobs]
                self._busy.append(self._threads.submit(os.fdatasync, self._descriptor))
            self.count += len(images)

    def _wait(self) -> None:
        while self._busy:
            self._busy.pop().result()

    def _write(self, first: int, images: NDArray[np.float16]) -> None:
        for position, image in enumerate(images, start=first):
            self._dataset.id.write_direct_chunk((position, 0, 0), image.data)

    def _check(self, first: int, images: NDArray[np.float16]) -> None:
        for position, image in enumerate(images, start=first):
            self._checksums[position] = zlib.crc32(image.data)


class _Shard:
    """One open-and-closed shard: its keys, checksums and the place of each image in the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with h5py.File(path, "r", locking=False) as shard:
                self.attributes = {name: _plain(value) for name, value in shard.attrs.items()}
                self._check(shard)
        except FileNotFoundError:
            raise UserError(path, "no such file", "a token shard", "run `extract_tokens` for it") from None
        except (OSError, KeyError, RuntimeError, UnicodeDecodeError) as error:
            raise self._refuse(f"not a whole HDF5 file ({error})", "a token shard") from error

    def _check(self, shard: h5py.File) -> None:
        version = self.attributes.get("format")
        if version != FORMAT:
            raise self._refuse(f"format {version!r}", f"format {FORMAT!r}")
        if not self.attributes.get("complete"):
            raise self._refuse("a shard that was never completed", "attribute `complete` set")
        dataset, count = shard["tokens"], self.attributes["n"]
        chunks: list[Any] = []
        dataset.id.chunk_iter(chunks.append)
        if len(chunks) != count or len(dataset) != count:
            raise self._refuse(f"{len(chunks)} images", f"{count} images")
        names = [*("ids", "slots", "variants", "crc32"), *(name for name in EXTRAS if name in shard)]
        # A header of some bytes may declare any length, for which memory would be taken.
        if (declared := sum(shard[name].nbytes for name in names)) > self.path.stat().st_size:
            raise self._refuse(f"{declared:,} bytes of keys in a file of {self.path.stat().st_size:,}", "fewer")
        sides = {name: shard[name][()] for name in ("ids", "slots", "variants", "crc32")}
        extras = {name: shard[name][()] for name in EXTRAS if name in shard}
        header = {name: value for name, value in self.attributes.items() if name not in ("header_crc32", "complete")}
        if _checksum(header, sides | extras) != self.attributes["header_crc32"]:
            raise self._refuse("damaged keys or attributes", f"crc32 {self.attributes['header_crc32']:08x}")
        self.keys = np.empty(count, KEY)
        self.keys["id"], self.keys["slot"], self.keys["variant"], self.checksums = sides.values()
        self.parameters = extras.get("parameters")
        gaps = json.loads(extras["gaps"].tobytes()) if "gaps" in extras else []
        self.gaps = {(id, slot): reason for id, slot, reason in gaps}
        self.token_shape = dataset.shape[1:]
        self.offsets = np.zeros(count, np.int64)
        for chunk in chunks:
            self.offsets[chunk.chunk_offset[0]] = chunk.byte_offset
        size = int(np.prod(self.token_shape)) * DTYPE.itemsize
        end = int(self.offsets.max(initial=0)) + size * bool(count)
        if dataset.dtype != DTYPE or any(chunk.size != size or chunk.filter_mask for chunk in chunks):
            raise self._refuse("filtered chunks or another dtype", "plain float16 chunks")
        if self.path.stat().st_size < end:
            raise self._refuse(f"{self.path.stat().st_size} bytes", f"at least {end}")

    def check_inputs(self, whole: bool = False) -> None:
        """Check that the images are those that the tokens were made from.

        Args:
            whole: read all of them; else those only that are newer than the shard. What is not there is not checked.
        """
        made = self.path.stat().st_mtime
        for name, expected in json.loads(self.attributes.get("inputs", "{}")).items():
            path = self.path.parent / name
            if path.is_file() and (whole or path.stat().st_mtime > made) and hash_file(path) != expected:
                raise self._refuse(f"tokens of images that have changed since ({path.resolve()})", "tokens of these")

    def _refuse(self, found: str, expected: str) -> UserError:
        return UserError(self.path, found, expected, "remove the file and make it again (`extract_tokens`)")


class Keyed:
    """Images that are found by id, slot and variant; `keys` are these, `_index` their positions.

    `gaps` are damaged images that were knowingly left out: (id, slot) -> reason.
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

    Opening reads the shards' keys and places and checks that they are whole; each image's checksum is checked when it
    is read for the first time (`verify` checks all). Files are opened when first read, once per process: HDF5 handles
    that cross a fork give wrong data, plain descriptors read by `preadv` do not, and pickling leaves them behind.

    Args:
        paths: the shards; the store's images are theirs in this order.
        staging: a folder of this machine that shards are copied to first and read from (`nearid.tokens.staging`).
        ram_bytes: how much of what was read is kept in memory.

    Raises:
        UserError: a shard is missing, cut off, incomplete or of another format; its images have changed since; shards
            come from different backbones; a key occurs twice.
    """

    def __init__(self, paths: Sequence[Path | str], staging: Path | None = None, ram_bytes: int = 0) -> None:
        if not paths:
            raise UserError("token store", "no shard", "at least one shard", "name the shards of the collection")
        shards = [_Shard(Path(path)) for path in paths]
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
            out: contiguous float16 buffer of at least n images, to be used again; the result is its first n.

        Raises:
            UserError: an image is damaged or its file cut off.
            IndexError: an index is out of range.
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
        # A pool of its own: one that is kept would not survive a fork.
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
        """Read an image; whether it is whole."""
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
        """Read an image's shard from where it came, from now on; whether there is another place at all."""
        shard = int(self._shard_of[index])
        staged, path = self._read_from[shard], self.paths[shard]
        if staged != path:
            print(f"{staged}: gone or damaged; {path} is read instead", file=sys.stderr, flush=True)
            self._read_from[shard] = path
        return self._staging is not None

    def check_backbone(self, backbone: Any) -> None:
        """Check that `backbone` (`nearid.tokens.backbones.Backbone`) is what made the tokens.

        Raises:
            UserError: its weights or its preprocessing are others.
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
        """Read every image and check its checksum; check the files that the tokens were made from, where they are.

        Raises:
            UserError: an image is damaged, or was made from what has changed since.
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


def open_tokens(layout: Layout, settings: Mapping[str, Any], collection: str) -> TokenStore:
    """The tokens of a collection that a step's settings speak of: of `backbone_id`, `token_shards[collection]` shards.

    Raises:
        UserError: as `TokenStore`.
    """
    shards = shard_ids(settings["token_shards"][collection])
    return TokenStore([layout.tokens(settings["backbone_id"], collection, shard) for shard in shards])


class _Memory:
    """The images that were read first, as many as fit; from any thread."""

    def __init__(self, images: int, token_shape: tuple[int, int], size: int) -> None:
        self._images, self._token_shape, self._size = images, token_shape, size
        room = min(images, size // (int(np.prod(token_shape)) * DTYPE.itemsize))
        self._tokens = np.empty((room, *token_shape), DTYPE)
        self._places = np.full(images if room else 0, -1)
        self._next = itertools.count()

    def recall(self, index: int, image: NDArray[np.float16]) -> bool:
        """Fill `image`, if it is here."""
        if not len(self._tokens) or self._places[index] < 0:
            return False
        image[...] = self._tokens[self._places[index]]
        return True

    def keep(self, index: int, image: NDArray[np.float16]) -> None:
        """Keep an image, if there is room."""
        if len(self._tokens) and (place := next(self._next)) < len(self._tokens):
            self._tokens[place] = image
            self._places[index] = place

    def empty(self) -> _Memory:
        """One with nothing in it, for another process."""
        return _Memory(self._images, self._token_shape, self._size)


def _checksum(header: Mapping[str, Any], sides: Mapping[str, NDArray[Any]]) -> int:
    text = json.dumps(header, sort_keys=True).encode()
    return zlib.crc32(b"".join([text, *(side.tobytes() for side in sides.values())]))


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode() if isinstance(value, bytes) else value
