"""Packs of heads, so400m shape: `python benchmarks/packs.py [--tuples 16]`.

Goals: a step of a pack of 8 takes at most .85 of 8 single steps; a pack of 19 is at least 30 times as fast as 19 runs
of transformers' head. A step is the training's own: tokens read from a shard (warm), forward, NearID loss, backward,
clipping, AdamW. Beside it the ways to pool for eight heads, forward and backward: products of one head each (what
training does: the same bytes whoever shares the pass), of two, and one wide product. One thread, process time,
interleaved; tokens float16, weights random and float32.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from timing import compare, describe_machine, keep_memory
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.config import load, step_settings
from nearid.config.settings.heads import TrainingSettings
from nearid.distributed.ranks import join
from nearid.heads import objectives, packs
from nearid.heads.engine import Engine, Learners
from nearid.heads.feeds import TokenBatch
from nearid.heads.map_head import MAPHead, pool_each
from nearid.heads.tuples import PADDING, Tuples
from nearid.tokens import TokenStore
from nearid.tokens.shard import KEY
from nearid.tokens.writer import write_shard

CONFIG = SiglipVisionConfig(hidden_size=1152, intermediate_size=4304, num_attention_heads=16)


def training_in_batches(size: int) -> TrainingSettings:
    """The training of the paper's run, in batches of another size."""
    given = step_settings("train_head", load(), ablation="nearid")["training"]
    return TrainingSettings.parse(given | {"batch_size": size})


def main() -> None:
    """Print the ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuples", type=int, default=16, help="of four images each")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), arguments.tuples, arguments.rounds), indent=2))


def measure(folder: Path, tuples: int, rounds: int) -> dict[str, Any]:
    """All ratios."""
    feed = Feed(folder / "000.h5", tuples)
    ranks, training = join(), training_in_batches(tuples)

    def member() -> Any:
        head = MAPHead(CONFIG)
        engine = Engine(head, training, 10**6, ranks)
        return SimpleNamespace(head=head, engine=engine, objective=objectives.create("nearid"), training=training)

    heads = [member() for _ in range(19)]

    learners = Learners([one.engine for one in heads])

    def step(members: list[Any]) -> None:
        losses = [parts.loss for parts in packs.evaluate(members, feed.read())]
        engines = [one.engine for one in members]
        learners.receive(engines, packs.differentiate(members, losses))
        learners.step(engines)

    theirs = SiglipMultiheadAttentionPoolingHead(CONFIG)
    optimizer = torch.optim.AdamW(theirs.parameters(), fused=True)

    def transformers_step() -> None:
        batch = feed.read()
        vectors = theirs(batch.tokens.float())[torch.from_numpy(batch.slots)]
        valid = torch.from_numpy(batch.tuples.valid)
        loss = heads[0].objective(vectors[:, 0], vectors[:, 1:3], vectors[:, 3:], valid[:, 1:3], valid[:, 3:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()

    eight = {"eight_alone": lambda: [step([one]) for one in heads[:8]], "pack_of_8": lambda: step(heads[:8])}
    suite = {"one_transformers_head": transformers_step, "pack_of_19": lambda: step(heads)}
    pooling = compare(pooling_ways([one.head for one in heads[:8]], feed.read().tokens), rounds, time.process_time)
    packed = compare(eight, rounds, time.process_time)
    whole = compare(suite, rounds, time.process_time)
    gain = whole["pack_of_19"]["times_faster_than_one_transformers_head"]
    return {
        "images": 4 * tuples,
        "pooling": pooling,
        "eight": packed,
        "nineteen": whole,
        "pack_of_8_as_share_of_eight_alone": {
            name: round(1 / value, 3) for name, value in packed["pack_of_8"]["times_faster_than_eight_alone"].items()
        },
        "pack_of_19_against_19_transformers_runs": {name: round(19 * value, 1) for name, value in gain.items()},
        "machine": describe_machine("torch", "transformers", "deepspeed"),
    }


def pooling_ways(heads: list[MAPHead], tokens: torch.Tensor) -> dict[str, Callable[[], None]]:
    """Pooling of `tokens` for all heads, forward and backward, in products of so many heads at a time."""

    def way(width: int) -> Callable[[], None]:
        def run() -> None:
            queries = [head.queries() for head in heads]
            joined = [torch.cat(queries[start : start + width]) for start in range(0, len(queries), width)]
            torch.stack([pooled.square().sum() for pooled in pool_each(tokens, joined)]).sum().backward()

        return run

    return {"one_wide_product": way(len(heads)), "two_heads_each": way(2), "one_head_each": way(1)}


class Feed:
    """A shard of random tokens, and one batch of tuples with two views and two distractors each."""

    def __init__(self, path: Path, tuples: int) -> None:
        keys = np.array([(id, slot, "full") for id in range(tuples) for slot in range(4)], KEY)
        tokens = torch.randn(len(keys), 729, CONFIG.hidden_size).half().numpy()
        attributes = {"backbone": "random", "weights_hash": "", "preprocess_hash": "", "content_key": "random"}
        write_shard(path, keys, [tokens], tokens.shape[1:], attributes)
        self._store = TokenStore([path])
        self._buffer = np.empty(tokens.shape, np.float16)
        images = np.arange(tuples)[:, None] * 4 + np.array([0, 1, -1, 2, 3, -1])
        images[:, [2, 5]] = PADDING
        self._tuples = Tuples.whole(images)

    def read(self) -> TokenBatch:
        """The batch, its tokens read anew."""
        tokens = self._store.read(np.arange(len(self._buffer)), out=self._buffer)
        return TokenBatch(self._tuples, torch.from_numpy(tokens), np.maximum(self._tuples.images, 0))


if __name__ == "__main__":
    main()
