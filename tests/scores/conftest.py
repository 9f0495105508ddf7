"""A tiny results folder: 8 identities in 2 shards, two sources, MTG, random images and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nearid.data.schema import DISTRACTORS, IDENTITIES, POSITIVES
from nearid.io.images import encode_png
from nearid.io.tables import IMAGE, write_table
from nearid.layout import Layout
from nearid.tokens.shard import KEY
from nearid.tokens.writer import write_shard

SOURCES = ("sibling", "cut_paste")
CONDITIONS = ("full", "fg")
EMPTY = ("cut_paste", 103, 1)  # a distractor that could not be painted
TOKENS = (4, 16)
BACKBONE = {"kind": "siglip", "path": "nowhere", "revision": "", "precision": "float32", "batch_size": 5}


@dataclass
class World:
    layout: Layout
    identities: list[dict]
    images: dict  # (collection, id, slot) -> uint8 [h, w, 3]
    masks: dict  # (collection, id, slot) -> bool [h, w]
    tokens: dict  # (collection, id, slot, condition) -> float16 [tokens, dim]
    sources = SOURCES
    conditions = CONDITIONS
    empty = EMPTY

    def settings(self, scorer_id="mean", **scorer):
        return {
            "scorer": scorer or {"kind": "encoder", "readout": "mean"},
            "scorer_id": scorer_id,
            "sources": list(SOURCES),
            "conditions": list(CONDITIONS),
            "split": "test",
            "backbone_id": "tiny",
            "token_shards": {"positives": 2, **dict.fromkeys(SOURCES, 2), "mtg_train": 1, "mtg_test": 1},
            "backbone": BACKBONE,
        }

    def write_tokens(self, collection, shard, without=()):
        keys = [key for key in self.tokens if key[0] == collection and key[1:] not in without]
        if collection in ("positives", *SOURCES):
            mine = {row["id"] for row in self.identities if row["shard"] == shard}
            keys = [key for key in keys if key[1] in mine]
        rows = np.array([(id, slot, condition.encode()) for _, id, slot, condition in keys], KEY)
        blocks = [np.stack([self.tokens[key] for key in keys])]
        attributes = {"backbone": "tiny", "weights_hash": "w", "preprocess_hash": "p", "content_key": "c"}
        write_shard(self.layout.tokens("tiny", collection, shard), rows, blocks, TOKENS, attributes)


@pytest.fixture
def world(tmp_path: Path) -> World:
    rng = np.random.default_rng(0)
    identities = [
        {
            "row": row,
            "id": 100 + row,
            "shard": f"{row // 4:03d}",
            "shard_row": row % 4,
            "split": ("test", "val", "test", "test", "train", "test", "val", "test")[row],
            "class_name": "mug",
            "category_description": "a mug",
            "n_images": 3 if row % 2 else 2,
            "name": f"mug {row}",
        }
        for row in range(8)
    ]
    world = World(Layout(tmp_path / "tiny"), identities, {}, {}, {})

    def add(collection, id, slot, mask):
        world.images[collection, id, slot] = rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
        world.masks[collection, id, slot] = mask
        shared = rng.normal(size=TOKENS)
        for condition in CONDITIONS:
            tokens = shared + 0.3 * rng.normal(size=TOKENS)
            world.tokens[collection, id, slot, condition] = tokens.astype(np.float16)

    for identity in identities:
        for slot in range(identity["n_images"]):
            mask = rng.uniform(size=(9, 7)) < 0.5
            add("positives", identity["id"], slot, mask)
            for source in SOURCES:
                if (source, identity["id"], slot) != EMPTY:
                    add(source, identity["id"], slot, mask)
    for sample in range(5):
        masks = [rng.uniform(size=(9, 7)) < 0.8 for _ in range(2)]
        for slot in range(4):
            add("mtg_test", sample, slot, masks[slot % 2])

    layout = world.layout
    write_table(layout.identities, columns_of(IDENTITIES, identities), IDENTITIES)
    for shard in ("000", "001"):
        rows = [identity for identity in identities if identity["shard"] == shard]
        write_table(layout.positives(shard), columns_of(POSITIVES, rows, world, "positives"), POSITIVES)
        world.write_tokens("positives", shard)
        for source in SOURCES:
            write_table(layout.distractors(source, shard), columns_of(DISTRACTORS, rows, world, source), DISTRACTORS)
            world.write_tokens(source, shard)
    write_mtg(world)
    world.write_tokens("mtg_test", "000")
    return world


def columns_of(schema, rows, world=None, collection=""):
    def value(row, field):
        if field.type != IMAGE:
            return row.get(field.name)
        kept = world.masks if field.name.startswith("masks") else world.images
        pixels = kept.get((collection, row["id"], int(field.name[-1]) - 1))
        return None if pixels is None else encode_png(pixels)

    return {field.name: [value(row, field) for row in rows] for field in schema}


def write_mtg(world, samples=5):
    import pyarrow as pa

    columns = {"id": list(range(samples))}
    for view in (1, 2):
        for slot, kind in ((view - 1, "original"), (view + 1, "inpainted")):
            columns[f"image_{view}_{kind}"] = [
                encode_png(world.images["mtg_test", sample, slot]) for sample in range(samples)
            ]
        objects = [world.masks["mtg_test", sample, view - 1] for sample in range(samples)]
        parts = [mask & (np.arange(mask.size).reshape(mask.shape) < 5 * (n + view)) for n, mask in enumerate(objects)]
        columns[f"image_{view}_object_mask"] = [encode_png(mask) for mask in objects]
        columns[f"image_{view}_part_mask"] = [encode_png(mask) for mask in parts]
    schema = pa.schema([("id", pa.int64()), *((name, IMAGE) for name in columns if name != "id")])
    write_table(world.layout.mtg("test"), columns, schema)
