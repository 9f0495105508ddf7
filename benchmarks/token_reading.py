"""Reading and writing token shards against flat files: `python benchmarks/token_reading.py [--images 300]`.

Goals (performance.md, section 6): reader >= 0.7 times a flat `preadv` (warm), writer >= 0.6 times a flat write with
fsync. Tokens have so400m's shape; each round reads the same batches of 64 random images, interleaved.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from timing import compare, describe_machine

from nearid.tokens.store import KEY, TokenStore, write_shard

SHAPE = (729, 1152)
BATCH = 64
ORIGIN = {"backbone": "random", "weights_hash": "", "preprocess_hash": "", "content_key": ""}


def main() -> None:
    """Print the ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where to write; by default a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        print(json.dumps(measure(Path(folder), arguments.images, arguments.rounds), indent=2))


def measure(folder: Path, images: int, rounds: int) -> dict[str, object]:
    """Ratios of the readers and of the writers."""
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((images, *SHAPE), np.float32).astype(np.float16)
    keys = np.array([(id, 0, b"full") for id in range(images)], KEY)
    flat, shard = folder / "flat.bin", folder / "000.h5"

    def write_flat() -> None:
        with flat.open("wb") as stream:
            for image in tokens:
                stream.write(image.data)
            stream.flush()
            os.fsync(stream.fileno())

    writers = compare(
        {"flat": write_flat, "store": lambda: write_shard(shard, keys, [tokens], SHAPE, ORIGIN)},
        rounds,
        time.perf_counter,
    )

    batches = [rng.permutation(images)[:BATCH].tolist() for _ in range(4)]
    buffer = np.empty((BATCH, *SHAPE), np.float16)
    size = buffer[0].nbytes
    store = TokenStore([shard])
    store.verify()  # a first read also checks checksums; training reads each image many times

    def read_flat() -> None:
        for batch in batches:
            for image, index in zip(buffer, batch, strict=False):
                os.preadv(descriptor, [image.data], index * size)

    def read_store() -> None:
        for batch in batches:
            store.read(batch, out=buffer)

    def read_slices() -> None:
        for batch in batches:
            for position, index in enumerate(batch):
                buffer[position] = dataset[index]

    descriptor = os.open(flat, os.O_RDONLY)
    try:
        with h5py.File(shard, "r", locking=False) as opened:
            dataset = opened["tokens"]
            readers = compare(
                {"flat": read_flat, "store": read_store, "h5py_slices": read_slices}, rounds, time.perf_counter
            )
    finally:
        os.close(descriptor)
    megabytes = sum(len(batch) for batch in batches) * size / 1e6
    for reader in readers.values():
        reader["mb_per_s"] = round(megabytes / reader["seconds"]["median"])
    return {"images": images, "readers": readers, "writers": writers, "machine": describe_machine("h5py", "numpy")}


if __name__ == "__main__":
    main()
