"""Random images and masks, as earlier stages write them, for the extraction of tokens."""

import numpy as np
import pyarrow as pa

from nearid.config.settings.tokens import BackboneSettings
from nearid.io.images import encode_png
from nearid.io.tables import IMAGE, write_table
from nearid.layout import Layout
from nearid.tokens import load_backbone
from nearid.tokens.collections import MTG_COLUMNS

IDS, SPLITS = [7, 3, 11, 5], ["train", "test", "train", "test"]
VIEWS = {7: 3, 3: 2, 11: 2, 5: 3}


def open_backbone(settings):
    return load_backbone(BackboneSettings.parse(settings))


def picture(*key):
    return np.random.default_rng(key).integers(0, 256, (30, 30 + key[0], 3), np.uint8)


def mask_of(*key):
    mask = np.zeros((30, 30 + key[0]), bool)
    mask[5 : 20 + key[1], 8:20] = True
    return mask


def write_images(path, columns, names):
    schema = pa.schema([("id", pa.int64()), ("split", pa.string()), *((name, IMAGE) for name in names)])
    write_table(path, {"id": IDS, "split": SPLITS} | columns, schema)


def slots(name, make, missing=()):
    return {
        f"{name}{slot + 1}": [
            encode_png(make(id, slot)) if slot < VIEWS[id] and (id, slot) not in missing else None for id in IDS
        ]
        for slot in range(3)
    }


def write_world(root):
    """A positives' shard, its distractors of `sibling` and an MTG set below `root`."""
    layout = Layout(root)
    views = slots("images", picture) | slots("masks", mask_of)
    write_images(layout.positives("000"), views, views)
    painted = slots("nimg", lambda id, slot: picture(id, slot, 1), missing=[(7, 1)])
    write_images(layout.distractors("sibling", "000"), painted, painted)
    edits = {}
    for slot, (image, mask) in enumerate(MTG_COLUMNS):
        edits[image] = [encode_png(picture(id, slot, 2)) for id in IDS]
        edits[mask] = [encode_png(mask_of(id, slot % 2)) for id in IDS]
    edits["image_2_object_mask"][1] = None
    write_images(layout.mtg("test"), edits, edits)
    return layout
