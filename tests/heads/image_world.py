"""A small world of images: objects on scenes, siblings on the same scenes, part edits; and a fast backbone."""

import numpy as np
import pyarrow as pa
import torch
from token_world import DIM, TOKENS, VISION, backbone

from nearid.config.steps import step_settings
from nearid.io.files import write_json
from nearid.io.images import encode_png
from nearid.io.tables import IMAGE, write_table
from nearid.layout import Layout
from nearid.tokens.collections import MTG_COLUMNS, open_collection
from nearid.tokens.extraction import extract

SIZE = 24
COUNTS = [2, 3, 2, 3, 2, 2, 3, 2, 2, 2]
SPLITS = ["train"] * 8 + ["val"] * 2


class PatchBackbone:
    """Tokens are a fixed projection of six patches; it keeps the images that it encodes."""

    config, weights_hash, preprocess_hash, batch_size = VISION, "w", "p", 5
    token_shape = (TOKENS, DIM)

    def __init__(self):
        self.seen = []
        self._weights = torch.randn(SIZE * SIZE * 3 // TOKENS, DIM, generator=torch.Generator().manual_seed(0)) / 20
        self.head_state = backbone().head_state

    def preprocess(self, images):
        images = list(images)
        self.seen += images
        return torch.from_numpy(np.stack(images)).float() / 255

    def encode(self, pixels):
        # Image by image: the rounding must not depend on the batch.
        return torch.stack([image.reshape(TOKENS, -1) @ self._weights for image in pixels])


def write_images(root, sources=("one", "two")):
    """Fill a results folder with images, without tokens: ten identities, two of them for validation."""
    layout, random = Layout(root), np.random.default_rng(0)
    ids = [50 + row for row in range(len(COUNTS))]
    scenes = random.integers(0, 256, (len(COUNTS), 3, SIZE, SIZE, 3), dtype=np.uint8)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[6:18, 4:20] = True

    def paint(row, slot, colours):
        image = scenes[row, slot].copy()
        image[mask] = colours
        return encode_png(image)

    objects = random.integers(0, 256, (len(COUNTS), mask.sum(), 3), dtype=np.uint8)
    text, number = ("split", "shard"), pa.int64()
    columns = {"id": ids, "split": SPLITS}
    for slot in range(3):
        there = [slot < count for count in COUNTS]
        columns[f"images{slot + 1}"] = [paint(r, slot, objects[r]) if ok else None for r, ok in enumerate(there)]
        columns[f"masks{slot + 1}"] = [encode_png(mask) if ok else None for ok in there]
    write_table(layout.positives("000"), columns, schema_of(columns))
    for source in sources:
        others = np.random.default_rng(len(source)).permutation(objects.reshape(-1, 3)).reshape(objects.shape)
        columns = {"id": ids}
        for slot in range(3):
            columns[f"nimg{slot + 1}"] = [
                paint(r, slot, others[r]) if slot < count else None for r, count in enumerate(COUNTS)
            ]
        write_table(layout.distractors(source, "000"), columns, schema_of(columns))
    columns = {"id": list(range(4))}
    for image, object_mask in MTG_COLUMNS:
        columns[image] = [encode_png(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)) for _ in range(4)]
        columns[object_mask] = [encode_png(mask)] * 3 + [None]
    write_table(layout.mtg("train"), columns, schema_of(columns))
    rows = list(range(len(COUNTS)))
    roster = {"row": rows, "id": ids, "shard": ["000"] * len(rows), "split": SPLITS, "n_images": COUNTS}
    schema = pa.schema([(name, pa.string() if name in text else number) for name in roster])
    write_table(layout.identities, roster, schema)
    write_json(layout.splits, {"train": rows[:8], "val": rows[8:], "test": [], "seed": 0})
    return layout


def extract_all(layout, backbone, collections=("positives", "one", "two", "mtg_train"), **asked):
    """Token shards of all images; `asked` are arguments of `extract`."""
    for collection in collections:
        pictures, inputs = open_collection(layout, collection, "000", ["train", "val"])
        target = layout.tokens("tiny", collection, "000")
        extract(backbone, "tiny", pictures, inputs, target, collection=collection, **asked)


def extract_for(layout, backbone, *trainings):
    """Token shards of what several trainings (`token_world.settings`) ask for, as the workflow would."""
    config = {
        "dataset": {"shards": 1},
        "tokens": {"damaged_images": "error"},
        "ablations": {str(number): {"mix": "all", "training": {}} for number in range(len(trainings))},
        "mixes": {"all": trainings[0]["mix"]},
        "backbones": {"tiny": {}},
        "training": trainings[0]["training"] | {"augmented_draws": 0},
    }
    for number, training in enumerate(trainings):
        config["ablations"][str(number)]["training"] = training["training"]
    for collection in ("positives", "one", "two", "mtg_train"):
        wanted = step_settings("extract_tokens", config, backbone="tiny", collection=collection, shard="000")
        asked = {name: wanted[name] for name in ("variants", "augmentations") if name in wanted}
        extract_all(layout, backbone, [collection], **asked)


def schema_of(columns):
    kinds = {"id": pa.int64(), "split": pa.string()}
    return pa.schema([(name, kinds.get(name, IMAGE)) for name in columns])
