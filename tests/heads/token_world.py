"""A small synthetic world of tokens, and training on it in a process of its own."""

import copy
import os
import signal
from types import SimpleNamespace

import deepspeed  # noqa: F401 - so that a fork server has it
import numpy as np
import pyarrow as pa
import torch
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.config.settings.heads import TrainHead
from nearid.heads import packs, training
from nearid.io.files import write_json
from nearid.io.tables import write_table
from nearid.layout import Layout
from nearid.tokens.shard import KEY
from nearid.tokens.writer import write_shard

TOKENS, DIM = 6, 16
VISION = SiglipVisionConfig(hidden_size=DIM, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1)
SETTINGS = {
    "ablation": "tiny",
    "objective": "nearid",
    "params": {"alpha": 0.5},
    "mix": {"sources": ["one", "two"], "nearid_repeats": 1, "mtg_repeats": 2, "severities": {}},
    "seed": 3,
    "backbone": {"kind": "synthetic", "path": "", "revision": "", "precision": "float32", "batch_size": 8},
    "backbone_id": "tiny",
    "training": {
        "backbone": "tiny",
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": 0.01,
        "weight_decay": 1e-4,
        "warmup_steps": 3,
        "clip_norm": 1.0,
        "mask_probability": {"anchor": 0.5, "positive": 0.2, "distractor": 0.6},
        "tokens": "cached",
        "augmentation": {"flip": 0.0, "jitter": 0.0, "affine": 0.0},
        "validate_every_steps": 0,
        "checkpoint_every_steps": 4,
        "keep_every_steps": 0,
        "zero_stage": 0,
    },
}


def settings(**changes):
    """`SETTINGS` with changes, also to those of the training."""
    merged = copy.deepcopy(SETTINGS)
    merged |= {name: value for name, value in changes.items() if name in merged}
    merged["training"] |= {name: value for name, value in changes.items() if name not in merged}
    return merged


def backbone(_settings=None):
    """A frozen backbone with nothing but a head; any image has tokens of ones."""
    torch.manual_seed(0)
    head = SiglipMultiheadAttentionPoolingHead(VISION)
    return SimpleNamespace(
        config=VISION,
        weights_hash="w",
        preprocess_hash="p",
        head_state=head.state_dict,
        preprocess=lambda images: torch.stack([torch.ones(3, 2, 2) for _ in images]),
        encode=lambda pixels: torch.ones(len(pixels), TOKENS, DIM),
    )


def write_world(root, identities=40, held_out=10, mtg=8, skip=()):
    """Fill a results folder with tokens: half show the object (id and part), half the scene; `fg` has no scene.

    `skip` lists (collection, id, slot) or (collection, id, slot, variant) without tokens.
    """
    layout = Layout(root)
    random = np.random.default_rng(1)
    objects = random.normal(size=(1000, DIM))
    pose = np.random.default_rng(2)

    def shard(collection, number, entries):
        keys, blocks = [], []
        for id, slot, thing, scene in entries:
            if (collection, id, slot) in skip:
                continue
            for variant, background in (("full", scene), ("fg", np.zeros(DIM))):
                if (collection, id, slot, variant) in skip:
                    continue
                keys.append((id, slot, variant))
                tokens = np.stack([thing] * (TOKENS // 2) + [background] * (TOKENS // 2))
                # A channel by which attention can distinguish object and scene.
                tokens[:, 0] = [2.0] * (TOKENS // 2) + [-2.0] * (TOKENS // 2)
                blocks.append(tokens + pose.normal(scale=0.1, size=tokens.shape))
        attributes = {"backbone": "tiny", "weights_hash": "w", "preprocess_hash": "p", "content_key": collection}
        path = layout.tokens("tiny", collection, number)
        write_shard(path, np.array(keys, KEY), [np.array(blocks, np.float16)], (TOKENS, DIM), attributes)

    counts = [3 if row % 3 == 0 else 2 for row in range(identities)]
    ids = [100 + row for row in range(identities)]
    split = ["train"] * (identities - held_out) + ["val"] * (held_out // 2) + ["test"] * (held_out - held_out // 2)
    half = identities // 2
    for number, rows in (("000", range(half)), ("001", range(half, identities))):
        scenes = {(row, slot): random.normal(size=DIM) for row in rows for slot in range(counts[row])}
        shard("positives", number, [(ids[r], s, objects[r], scene) for (r, s), scene in scenes.items()])
        for collection, offset in (("one", 200), ("two", 400)):
            # A sibling: mostly the same object, in the same scene.
            siblings = [(ids[r], s, objects[r] + 0.6 * objects[offset + r], c) for (r, s), c in scenes.items()]
            shard(collection, number, siblings)
    edits = []
    for id in range(mtg):
        for slot in range(2):
            scene = random.normal(size=DIM)
            edits += [(id, slot, objects[600 + id], scene)]
            edits += [(id, slot + 2, objects[600 + id] + 0.5 * objects[700 + id], scene)]
    shard("mtg_train", "000", edits)
    write_table(layout.mtg("train"), {"id": list(range(mtg))}, pa.schema([("id", pa.int64())]))
    columns = {
        "row": list(range(identities)),
        "id": ids,
        "shard": ["000"] * half + ["001"] * (identities - half),
        "split": split,
        "n_images": counts,
    }
    text = ("shard", "split")
    schema = pa.schema([(name, pa.string() if name in text else pa.int64()) for name in columns])
    write_table(layout.identities, columns, schema)
    rows = {name: [row for row in range(identities) if split[row] == name] for name in ("train", "val", "test")}
    write_json(layout.splits, rows | {"seed": 0})
    return layout


def train(root, settings, kill_at=0, environment=()):
    """Train a head (of a list the first, with the others along) on one thread; die by SIGKILL at step `kill_at` > 0."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    training.load_backbone = backbone
    evaluate, calls = packs.evaluate, []

    def evaluate_or_die(*arguments):
        calls.append(None)
        if len(calls) == kill_at:
            for member in arguments[0]:
                member.checkpoints.wait()  # so that the step that it resumes from is known
            os.kill(os.getpid(), signal.SIGKILL)
        return evaluate(*arguments)

    packs.evaluate = evaluate_or_die
    first, *others = settings if isinstance(settings, list) else [settings]
    along = [(TrainHead.parse(other), "") for other in others]
    training.train(TrainHead.parse(first), Layout(root), along=along)
