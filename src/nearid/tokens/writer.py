"""Writes a shard of patch tokens under a private name, renamed when it is complete (docs/performance.md 2).

Each image is one chunk at a 4 KiB boundary, uncompressed and unfiltered, so that it can be read by its file offset.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nearid.io.files import replacing
from nearid.io.hashing import hash_file
from nearid.tokens.shard import DTYPE, FORMAT, SHORT, checksum

# From this version on HDF5 checksums its own metadata; before, one flipped bit in it could crash the process.
LIBVER = ("v110", "v110")
# Images that the threads checksum, write and flush at a time.
STRIDE = 64


def write_shard(
    target: Path | str,
    keys: NDArray[np.void],
    blocks: Iterable[NDArray[np.float16]],
    token_shape: tuple[int, int],
    attributes: Mapping[str, Any],
    extras: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write a shard atomically; equal content gives equal bytes.

    Threads compute checksums, write and flush while `blocks` makes the next block, which must not overwrite the last.

    Args:
        target: the shard's path.
        keys: one of `KEY` per image, all different.
        blocks: the tokens [images, tokens, dim] in the order of `keys`, cut anywhere.
        token_shape: (tokens, dim) of one image.
        attributes: `backbone`, `weights_hash`, `preprocess_hash`, `content_key`, `inputs` (see `describe_inputs`), ...:
            strings or numbers.
        extras: arrays named in `EXTRAS`, as far as there are any.

    Raises:
        ValueError: keys repeat, or blocks and keys differ in number.
        OSError: it cannot be written, for example because the disk is full.
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
            # HDF5 rejects chunks larger than a data set of fixed size, so an empty one is declared growable.
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
        header |= {"header_crc32": checksum(header, sides), "complete": True}
        # Fixed-length text is part of HDF5's checksummed metadata; in other text one flipped bit can hang the reader.
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
            # On a full disk closing fails too; the first error is the one to report.
            with suppress(Exception):
                shard.close()
            raise
        shard.close()
    except RuntimeError as error:
        # HDF5 wraps some of the system's errors in its own.
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
        """Write the next images; returns before the last of them are written."""
        for start in range(0, len(block), STRIDE):
            images = block[start : start + STRIDE]
            self._wait()
            if self.count + len(images) <= len(self._checksums):
                # Flushed while the next images are copied; else the final `fsync` would wait for all of them.
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
