"""One head over nine sources, both conditions and MTG, from cached tokens at the paper's size: `benchmarks/scoring.py`.

Goal: under two minutes on two cores; the paper states about 10 A100 minutes for the same, with the backbone's passes.

500 test identities (a third with three views), 100 MTG samples, tokens [729, 1152] in float16. All tokens would be 40
GB on the disk. So one shard of views and one of distractors are written, the latter is linked under nine names, and the
files' pages are dropped from memory before each is read (`posix_fadvise`), so that every read of a run asks the disk.
`--warm` leaves the pages. The numbers in the tokens are random: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from timing import describe_machine
from transformers import SiglipVisionConfig

from nearid.config.settings.scores import ScoreMTG, ScoreNearIDBench, SummariseScores
from nearid.data.schema import DISTRACTORS, IDENTITIES
from nearid.heads.map_head import MAPHead
from nearid.io.files import write_json
from nearid.io.images import encode_png
from nearid.io.tables import IMAGE, write_table
from nearid.layout import Layout
from nearid.scores.embeddings import TokenEmbedder
from nearid.scores.mtg import score_mtg
from nearid.scores.nearid_bench import score_nearid_bench
from nearid.scores.summary import summarise
from nearid.tokens.shard import KEY
from nearid.tokens.writer import write_shard

SHAPE = (729, 1152)
SOURCES = [f"source_{n}" for n in range(9)]
CONDITIONS = ["full", "fg"]
CONFIG = SiglipVisionConfig(hidden_size=1152, intermediate_size=4304, num_attention_heads=16)
TILE = 64


def main() -> None:
    """Print seconds per step as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--identities", type=int, default=500)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--warm", action="store_true", help="read what the memory still holds from there")
    parser.add_argument("--folder", type=Path, help="where to write some 10 GB; by default a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        layout = Layout(Path(folder) / "results")
        images = build(layout, arguments.identities, arguments.samples)
        if not arguments.warm:
            read_cold(layout)
        print(json.dumps(measure(layout) | images, indent=2))


def measure(layout: Layout) -> dict[str, object]:
    """Seconds of the three steps that a head takes from its tokens to its metrics."""
    backbone = {"kind": "siglip", "path": "", "revision": "", "precision": "float32", "batch_size": 32}
    settings = {"scorer": {"kind": "head", "ablation": "head"}, "scorer_id": "head", "conditions": CONDITIONS}
    settings |= {"backbone": backbone, "backbone_id": "random"}
    settings |= {"token_shards": dict.fromkeys(["positives", *SOURCES, "mtg_test"], 1)}
    bench = ScoreNearIDBench.parse(settings | {"sources": SOURCES, "split": "test"})
    summary = {"scorer_id": "head", "groups": {"all9": SOURCES}, "headline_group": "all9", "seed": 0}
    summary |= {"benchmarks": ["nearid_bench", "mtg"]}
    steps = {
        "nearid_bench": lambda: score_nearid_bench(bench, layout, layout.scores("head", "nearid_bench"), "code"),
        "mtg": lambda: score_mtg(ScoreMTG.parse(settings), layout, layout.scores("head", "mtg"), "code"),
        "metrics": lambda: summarise(SummariseScores.parse(summary), layout),
    }
    seconds = {}
    for name, step in steps.items():
        start, work = time.perf_counter(), time.process_time()
        step()
        seconds[name] = {
            "wall_s": round(time.perf_counter() - start, 1),
            "cpu_s": round(time.process_time() - work, 1),
        }
    total = {clock: round(sum(times[clock] for times in seconds.values()), 1) for clock in ("wall_s", "cpu_s")}
    machine = describe_machine("torch", "h5py", "numpy") | {"threads": torch.get_num_threads()}
    return {"seconds": seconds, "total": total, "goal_s": 120, "paper": "about 10 A100 minutes", "machine": machine}


def read_cold(layout: Layout) -> None:
    """Make every embedding forget its files first."""
    embed = TokenEmbedder.embed

    def embed_cold(self: TokenEmbedder, collection: str, images: object) -> object:
        for path in layout.tokens("random", collection).parent.glob("*.h5"):
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        return embed(self, collection, images)  # type: ignore[arg-type]

    TokenEmbedder.embed = embed_cold  # type: ignore[method-assign, assignment]


def build(layout: Layout, identities: int, samples: int) -> dict[str, int]:
    """Write roster, distractor tables without pictures' contents, token shards, MTG and a head; how many images."""
    rows = [
        {"row": n, "id": n, "shard": "000", "shard_row": n, "split": "test", "n_images": 3 if n % 3 == 0 else 2}
        for n in range(identities)
    ]
    write_table(layout.identities, {f.name: [row.get(f.name) for row in rows] for f in IDENTITIES}, IDENTITIES)
    keys = [(row["id"], slot, name.encode()) for row in rows for slot in range(row["n_images"]) for name in CONDITIONS]
    edits = [(sample, slot, name.encode()) for sample in range(samples) for slot in range(4) for name in CONDITIONS]
    write_tokens(layout.tokens("random", "positives"), keys)
    write_tokens(layout.tokens("random", "mtg_test"), edits)
    first = layout.tokens("random", SOURCES[0])
    write_tokens(first, keys)
    pixel = encode_png(np.zeros((1, 1, 3), np.uint8))
    for source in SOURCES:
        columns = {f.name: [row.get(f.name) for row in rows] for f in DISTRACTORS}
        for slot in range(3):
            columns[f"nimg{slot + 1}"] = [pixel if slot < row["n_images"] else None for row in rows]
        write_table(layout.distractors(source, "000"), columns, DISTRACTORS)
        path = layout.tokens("random", source)
        if path != first:
            path.parent.mkdir(parents=True)
            path.symlink_to(first.resolve())
    write_mtg(layout, samples)
    torch.manual_seed(0)
    head = MAPHead(CONFIG)
    write_json(layout.head_file("head", "config.json"), {"vision_config": CONFIG.to_dict()})
    save_file({name: value.contiguous() for name, value in head.state_dict().items()}, layout.head_file("head"))
    return {"images_embedded": len(keys) * (1 + len(SOURCES)) + len(edits), "identities": identities}


def write_tokens(path: Path, keys: list[tuple[int, int, bytes]]) -> None:
    """A shard of random tokens: one tile of 64 images, turned over by a different amount each time."""
    rng = np.random.default_rng(0)
    tile = rng.standard_normal((TILE, *SHAPE), np.float32).astype(np.float16)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(keys), TILE):
            yield np.roll(tile, start // TILE, axis=1)[: len(keys) - start]

    origin = {"backbone": "random", "weights_hash": "", "preprocess_hash": "", "content_key": path.parent.name}
    write_shard(path, np.array(keys, KEY), blocks(), SHAPE, origin)


def write_mtg(layout: Layout, samples: int) -> None:
    """MTG's masks: parts of different sizes."""
    import pyarrow as pa

    names = [f"image_{view}_{kind}_mask" for view in (1, 2) for kind in ("object", "part")]
    whole = np.ones((32, 32), bool)
    parts = [encode_png(np.arange(32 * 32).reshape(32, 32) < 8 * (n + 1)) for n in range(samples)]
    masks = {name: parts if "part" in name else [encode_png(whole)] * samples for name in names}
    schema = pa.schema([("id", pa.int64()), *((name, IMAGE) for name in names)])
    write_table(layout.mtg("test"), {"id": list(range(samples)), **masks}, schema)


if __name__ == "__main__":
    main()
