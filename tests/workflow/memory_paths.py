"""The paths with the largest host memory at small sizes, each in a memory limit, for `test_memory.py`.

Memory for imports and preparation before the limit is set does not count.
"""

import json
import os
import resource
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForImageTextToText, Qwen3VLMoeConfig

from nearid.heads import feeds
from nearid.heads.tuples import Tuples
from nearid.io.images import encode_png
from nearid.io.model_folders import load_whole
from nearid.tokens import TokenStore, extraction
from nearid.tokens.collections import Picture
from nearid.tokens.shard import KEY
from nearid.tokens.writer import write_shard
from nearid.workflow.memory import extraction_bytes, layout_bytes, pinned_bytes, training_bytes

ORIGIN = {"backbone": "tiny", "weights_hash": "w", "preprocess_hash": "p", "content_key": "c", "inputs": "{}"}
MB = 2**20


def experts(folder):
    """A mixture of experts as released, its experts transposed: 160 MB. Returns a function that loads it, and bytes."""
    config = Qwen3VLMoeConfig(
        text_config={
            **{"hidden_size": 256, "intermediate_size": 64, "num_hidden_layers": 8, "num_attention_heads": 2},
            **{"num_key_value_heads": 1, "head_dim": 64, "vocab_size": 64, "num_experts": 64},
            **{"num_experts_per_tok": 2, "moe_intermediate_size": 208},
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [8, 12, 12]},
        },
        vision_config={
            **{"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 256},
            **{"patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        },
    )
    with torch.device("meta"):
        shapes = AutoModelForImageTextToText.from_config(config).state_dict()
    turned = {name: shape.mT if ".experts." in name else shape for name, shape in shapes.items()}
    weights = {name: torch.zeros(shape.shape, dtype=torch.bfloat16) for name, shape in turned.items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config.save_pretrained(folder)
    size = (folder / "model.safetensors").stat().st_size
    assert size > 150 * MB
    weights.clear()

    def load():
        model = load_whole(
            AutoModelForImageTextToText, folder, dtype=torch.bfloat16, local_files_only=True, device_map={"": "cpu"}
        )
        # Read, as moving to a device does: pages mapped from the file count as memory too.
        assert all(weight.untyped_storage().nbytes() for weight in model.parameters())

    return load, layout_bytes(size)


class Backbone:
    """Batches of 8 MB of pixels; its model waits until all that may be decoded ahead has been decoded."""

    batch_size, weights_hash, preprocess_hash, token_shape, prefix_tokens = 8, "w", "p", (64, 64), 0

    def __init__(self, batches, workers):
        self._decoded, self._encoded, self._change = 0, 0, threading.Condition()
        self._batches, self._ahead = batches, extraction.AHEAD + workers - 1

    def preprocess(self, images):
        each = [torch.from_numpy(np.resize(image, (1, 3, 588, 588)).copy()) for image in images]
        pixels = torch.cat(each)
        with self._change:
            self._decoded += 1
            self._change.notify()
        return pixels

    def encode(self, pixels):
        with self._change:
            wanted = min(self._batches, self._encoded + self._ahead)
            assert self._change.wait_for(lambda: self._decoded >= wanted, 60)
            self._encoded += 1
        return pixels.flatten(1)[:, : 64 * 64].reshape(-1, *self.token_shape).float()


def decoding(folder):
    """Decoding ahead of a slow model, by four threads."""
    workers, batches = 4, 24
    rng = np.random.default_rng(0)
    encoded = [encode_png(rng.integers(0, 256, (200, 200, 3), np.uint8)) for _ in range(8)]
    pictures = [Picture(f"picture {id}", id, 0, encoded[id % 8], None, "train") for id in range(8 * batches)]
    backbone = Backbone(batches, workers)
    pixels, tokens = 8 * 3 * 588 * 588, 8 * 64 * 64 * 2
    size = sum(map(len, encoded))

    def extract():
        extraction.extract(backbone, "tiny", pictures, [], folder / "000.h5", workers, {"train": ["full"]})

    return extract, extraction_bytes(pixels, tokens, size, workers, extraction.AHEAD)


def pinned(folder):
    """Reading ahead of training on a GPU: blocks of 66 MB, each of which takes 128."""
    shape, capacity = (64, 256), 352
    keys = np.array([(id, slot, b"full") for id in range(8) for slot in range(6)], KEY)
    tokens = np.zeros((len(keys), *shape), np.float16)
    write_shard(folder / "000.h5", keys, [tokens], shape, ORIGIN)
    pool = feeds.TokenPool({"positives": TokenStore([folder / "000.h5"])})
    images = np.arange(len(keys)).reshape(-1, 6)
    size = capacity * 2 * feeds.SLOTS * shape[0] * shape[1] * 2
    assert size < 0.6 * pinned_bytes(size), "the worst of the rounding"

    def take(shape, dtype, pin_memory=False):
        # Like CUDA's allocator of pinned memory: a whole power of two, resident.
        count = int(np.prod(shape))
        block = torch.ones(pinned_bytes(count * dtype.itemsize) // dtype.itemsize if pin_memory else count, dtype=dtype)
        return block[:count].view(shape)

    held = 2

    def read():
        feeds.choose_device = lambda: torch.device("cuda")
        feeds.torch = SimpleNamespace(**{**vars(torch), "empty": take})
        batches = [Tuples.whole(np.tile(images, (capacity // len(images), 1)))] * 4
        assert len(list(feeds.load_batches(pool, batches, capacity, ahead=held - 1))) == len(batches)

    return read, training_bytes(size, 0, held)


PATHS = {"experts": experts, "decoding": decoding, "pinned": pinned}
# As if the formula had left out the experts' copy, the waiting batches, the rounding.
TOO_LITTLE = {"experts": 0.4, "decoding": 0.1, "pinned": 0.5}


def run_within(name, share, folder, group):
    """Run a path in a process of its own with `share` of its computed memory; returns the exit status."""
    child = os.fork()
    if not child:
        status = 1
        try:
            run, counted = PATHS[name](folder)
            # Beyond the computed memory: Python's own growth.
            limit_memory(int(share * counted) + 32 * MB, group)
            run()
            status = 0
        except (MemoryError, RuntimeError, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def limit_memory(limit, group):
    """Limit a new cgroup (version 1 or 2) and join it, leaving earlier memory outside; or else use RLIMIT_DATA."""
    if group is None:
        status = Path("/proc/self/status").read_text()
        held = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (held + limit, held + limit))
        return
    for name, value in (
        ("memory.limit_in_bytes", limit),
        ("memory.memsw.limit_in_bytes", limit),
        ("memory.max", limit),
        ("memory.swap.max", 0),
    ):
        # Swap accounting is not available everywhere.
        with suppress(OSError):
            if (group / name).exists():
                (group / name).write_text(str(value))
    (group / "cgroup.procs").write_text("0")


def main():
    """`memory_paths.py FOLDER [PARENT]`: run all paths with enough and too little memory; print statuses as JSON."""
    folder, *parent = map(Path, sys.argv[1:])
    found = {}
    for name in PATHS if parent else ["pinned"]:
        for case, share in (("enough", 1), ("too little", TOO_LITTLE[name])):
            place = folder / f"{name}-{share}"
            place.mkdir()
            group = parent[0] / f"nearid-{os.getpid()}-{name}" if parent else None
            if group:
                group.mkdir()
            try:
                found[f"{name}, {case}"] = run_within(name, share, place, group)
            finally:
                if group:
                    group.rmdir()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
