"""Reading and writing token shards against flat files: `python benchmarks/token_reading.py [--images 512]`.

Goals: warm, random batches of 64 from many shards >= 0.85 times a flat `preadv` into a used buffer; two readers scale;
cold >= 0.9 times a sequential read of as many bytes; writer >= 0.8 times a flat writer, `fsync` counted for both.
Tokens have so400m's shape; candidates take turns in random order, so that a busy machine slows all of them alike. Cold
means dropped from this system's page cache; a host below a virtual machine may still have it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from timing import compare, describe_machine

from nearid.io.files import replacing
from nearid.tokens import store as store_module
from nearid.tokens.shard import KEY
from nearid.tokens.store import TokenStore
from nearid.tokens.writer import write_shard

SHAPE = (729, 1152)
SIZE = 2 * SHAPE[0] * SHAPE[1]
BATCH = 64
ORIGIN = {"backbone": "random", "weights_hash": "", "preprocess_hash": "", "content_key": ""}
Batches = list[list[int]]


def main() -> None:
    """Print the ratios as JSON, and keep them where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where to write; by default a temporary folder")
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        found = measure(Path(folder), arguments.images, arguments.shards, arguments.rounds)
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text + "\n")


def measure(folder: Path, images: int, shards: int, rounds: int) -> dict[str, Any]:
    """Ratios of writers and readers."""
    tokens = np.random.default_rng(0).standard_normal((images, *SHAPE), np.float32).astype(np.float16)
    flat = folder / "flat.bin"
    each = images // shards
    paths = [folder / f"{number:03d}.h5" for number in range(shards)]
    found: dict[str, Any] = {"images": images, "shards": shards, "machine": describe_machine("h5py", "numpy")}
    found["writers"] = compare_writers(folder, flat, tokens, rounds)
    for number, path in enumerate(paths):
        write(path, tokens[number * each : (number + 1) * each], first=number * each)
    del tokens
    flat_reader, store = FlatFile(flat), TokenStore(paths)
    store.verify()  # a first read also checks checksums; training reads each image many times
    warm = compare(readers(flat_reader, store, draw(each * shards, 4, 0)), rounds, time.perf_counter)
    found["warm"] = with_speed(warm, 4 * BATCH)
    found["two_readers"] = compare_two(flat_reader, store, draw(each * shards, 8, 1), rounds)
    found["cold"] = compare_cold(flat_reader, store, [flat, *paths], rounds)
    return found


def write(path: Path, tokens: np.ndarray, first: int = 0) -> None:
    """A shard of `tokens`, in the blocks of the paper's config."""
    keys = np.array([(id, 0, b"full") for id in range(first, first + len(tokens))], KEY)
    write_shard(path, keys, (tokens[start : start + 64] for start in range(0, len(tokens), 64)), SHAPE, ORIGIN)


def compare_writers(folder: Path, flat: Path, tokens: np.ndarray, rounds: int) -> dict[str, Any]:
    """A flat file written over and flushed, one that replaces another whole as a shard does, and a shard."""

    def write_flat() -> None:
        with flat.open("wb") as stream:
            for image in tokens:
                stream.write(image.data)
            stream.flush()
            os.fsync(stream.fileno())

    def write_flat_whole() -> None:
        with replacing(folder / "whole.bin") as private, private.open("wb") as stream:
            for image in tokens:
                stream.write(image.data)

    candidates: dict[str, Callable[[], object]] = {
        "flat": write_flat,
        "flat_replacing": write_flat_whole,
        "store": lambda: write(folder / "written.h5", tokens),
    }
    return with_speed(compare(candidates, rounds, time.perf_counter), len(tokens))


class FlatFile:
    """Images one after the other: nothing is nearer to the disk."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def read(self, batch: list[int], out: np.ndarray) -> None:
        """Read a batch."""
        for image, index in zip(out, batch, strict=True):
            os.preadv(self.descriptor, [image.data], index * SIZE)

    def read_through(self, images: int, out: np.ndarray) -> None:
        """Read everything in order, in large pieces."""
        for start in range(0, images, 8):
            os.preadv(self.descriptor, [out[: min(8, images - start)].data], start * SIZE)


def draw(images: int, count: int, seed: int) -> Batches:
    """Random batches, each without repeats."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(images)[:BATCH].tolist() for _ in range(count)]


def buffer() -> np.ndarray:
    """A batch's memory, touched."""
    return np.zeros((BATCH, *SHAPE), np.float16)


def readers(flat: FlatFile, store: TokenStore, batches: Batches) -> dict[str, Callable[[], object]]:
    """One process: the limit, the store, the store in one thread, and h5py's slices."""
    out = buffer()

    def read_flat() -> None:
        for batch in batches:
            flat.read(batch, out)

    def read_store() -> None:
        for batch in batches:
            store.read(batch, out=out)

    def read_store_in_one_thread() -> None:
        shared, store_module.SHARED_BYTES = store_module.SHARED_BYTES, 1 << 60
        read_store()
        store_module.SHARED_BYTES = shared

    def read_slices() -> None:
        files = [h5py.File(path, "r", locking=False) for path in store.paths]
        each = len(store) // len(files)
        for batch in batches:
            for position, index in enumerate(batch):
                out[position] = files[index // each]["tokens"][index % each]
        for file in files:
            file.close()

    return {
        "flat": read_flat,
        "store": read_store,
        "store_one_thread": read_store_in_one_thread,
        "h5py_slices": read_slices,
    }


def compare_two(flat: FlatFile, store: TokenStore, batches: Batches, rounds: int) -> dict[str, Any]:
    """The same batches by one reader and by two, threads and processes."""
    halves, buffers = [batches[::2], batches[1::2]], [buffer(), buffer()]

    def read(source: FlatFile | TokenStore, some: Batches, out: np.ndarray) -> None:
        for batch in some:
            source.read(batch, out)

    def alone(source: FlatFile | TokenStore) -> Callable[[], None]:
        return lambda: read(source, batches, buffers[0])

    def in_threads(source: FlatFile | TokenStore) -> Callable[[], None]:
        def run() -> None:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(read, [source] * 2, halves, buffers))

        return run

    # Forked once, so that starting them does not count.
    processes = {name: _Pair(source, halves) for name, source in (("flat", flat), ("store", store))}
    candidates: dict[str, Callable[[], object]] = {"flat_one": alone(flat)}
    for name, source in (("flat", flat), ("store", store)):
        candidates |= {f"{name}_one": alone(source), f"{name}_two_threads": in_threads(source)}
        candidates[f"{name}_two_processes"] = processes[name].run
    found = compare(candidates, rounds, time.perf_counter)
    for pair in processes.values():
        pair.close()
    return with_speed(found, len(batches) * BATCH)


class _Pair:
    """Two processes that read their half of the batches each time they are asked."""

    def __init__(self, source: FlatFile | TokenStore, halves: list[Batches]) -> None:
        context = get_context("fork")
        pipes = [context.Pipe() for _ in halves]
        self._pipes = [ours for ours, _ in pipes]
        for (_, theirs), half in zip(pipes, halves, strict=True):
            context.Process(target=_serve, args=(source, half, theirs), daemon=True).start()
        self.run()

    def run(self) -> None:
        for pipe in self._pipes:
            pipe.send(True)
        for pipe in self._pipes:
            pipe.recv()

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.send(False)


def _serve(source: FlatFile | TokenStore, batches: Batches, pipe: Any) -> None:
    out = buffer()
    while pipe.recv():
        for batch in batches:
            source.read(batch, out)
        pipe.send(True)


def compare_cold(flat: FlatFile, store: TokenStore, paths: list[Path], rounds: int) -> dict[str, Any]:
    """Everything once, dropped from the page cache before: in order, and in random batches."""
    out, images = buffer(), len(store) // BATCH * BATCH
    order = np.random.default_rng(2).permutation(len(store))[:images].reshape(-1, BATCH).tolist()

    def read_all(source: FlatFile | TokenStore) -> Callable[[], None]:
        def run() -> None:
            for batch in order:
                source.read(batch, out)

        return run

    candidates: dict[str, Callable[[], object]] = {
        "sequential": lambda: flat.read_through(images, out),
        "flat_random": read_all(flat),
        "store_random": read_all(store),
    }
    return with_speed(compare(candidates, rounds, time.perf_counter, before=lambda: drop(paths)), images)


def drop(paths: list[Path]) -> None:
    """Forget what the page cache has of these files."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def with_speed(found: dict[str, Any], images: int) -> dict[str, Any]:
    """Add megabytes per second to what `compare` found."""
    for entry in found.values():
        entry["mb_per_s"] = round(images * SIZE / 1e6 / entry["seconds"]["median"])
    return found


if __name__ == "__main__":
    main()
