"""Small local sets in the layouts of the released ones on the hub."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pictures import draw
from PIL import Image

from nearid.data.schema import DISTRACTORS, MTG, POSITIVES
from nearid.io.images import encode_png
from nearid.io.tables import IMAGE

SIDE = 96


def save_syncd(root: Path) -> Path:
    """SynCD's layout with one record of each kind that the protocol handles; see `FATES` in test_syncd.py."""
    records = [
        _record(root, 0, "asset-a", "a red kettle"),
        _record(root, 1, "", "", category="deformable"),
        _record(root, 2, "asset-b", "A  Red KETTLE "),
        _record(root, 3, "asset-a", "a green kettle"),
        _record(root, 4, "asset-c", "a chair", views=3),
        _record(root, 5, "asset-d", "a lamp", views=1),
        _record(root, 6, "", "a thing without an asset"),
        _record(root, 7, "asset-e", ""),
        _record(root, 8, "asset-f", "a vase", views=3),
        _record(root, 9, "asset-g", "a clock"),
        _record(root, 10, "asset-h", "a shoe"),
        _record(root, 11, "asset-i", "a boot"),
    ]
    (root / "rigid/masks/object8_1.jpg").unlink()
    broken = root / "rigid/object9_1.jpg"
    broken.write_bytes(broken.read_bytes()[:600])
    _save_jpeg(np.zeros((SIDE, SIDE), np.uint8), root / "rigid/masks/object10_0.jpg")
    for folder in ("rigid", "deformable"):
        own = [record for record in records if record["category"] == folder]
        (root / folder / "train_metadata_with_scores.json").write_text(json.dumps(own))
        plain = [{key: value for key, value in record.items() if "scores" not in key} for record in own]
        (root / folder / "train_metadata.json").write_text(json.dumps(plain))
    return root


def _record(root: Path, number: int, asset: str, text: str, views: int = 2, category: str = "rigid") -> dict[str, Any]:
    folder = root / category
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    files = [f"object{number}_{view}.jpg" for view in range(views)]
    for view, file in enumerate(files):
        image, mask = draw(100 * number + view, side=SIDE)
        _save_jpeg(image, folder / file)
        # As released: the object rendered on black, with JPEG noise around it.
        render = np.where(mask, 40 + image.max(axis=-1) // 2, 0).astype(np.uint8)
        _save_jpeg(render, folder / "masks" / file, quality=30)
    dino = np.triu(np.full((views, views), 0.8), 1)
    return {
        "filenames": files,
        "prompts": [f"{text} in place {view}" for view in range(views)],
        "original_filenames": [f"render{number}_{view}.png" for view in range(views)],
        "objaverse_id": asset,
        "category": category,
        "category_description": text,
        "dino_scores": dino.tolist(),
        "aesthetics_scores": {Path(file).stem: 5.0 + view for view, file in enumerate(files)},
    }


def _save_jpeg(pixels: np.ndarray, path: Path, quality: int = 90) -> None:
    Image.fromarray(pixels).save(path, quality=quality)


def save_nearid(root: Path, split: bool = True) -> tuple[Path, Path]:
    """Positives of five identities with sparse ids, in two files, and one set of distractors for them."""
    ids = [3, 17, 40, 41, 90]
    rows = [_positive(each, 3 if each == 40 else 2, "train" if each != 90 else "test") for each in ids]
    for row in rows if not split else []:
        row["split"] = None
    positives = root / "NearID"
    _save(positives / "data/train-00000-of-00002.parquet", rows[:3], POSITIVES)
    _save(positives / "data/train-00001-of-00002.parquet", rows[3:], POSITIVES)
    released = pa.schema([field for field in DISTRACTORS if not field.name.startswith(("seed", "flag"))])
    distractors = [{name: row.get(name) for name in released.names} for row in rows]
    for row, positive in zip(distractors, rows, strict=True):
        for slot in range(1, positive["n_images"] + 1):
            row[f"nimg{slot}"] = distractor(positive["id"], slot)
    _save(root / "NearID-Flux/data/train-00000-of-00001.parquet", distractors, released)
    return positives, root / "NearID-Flux"


def distractor(identity: int, slot: int) -> bytes:
    """The released distractor of a slot, still encoded."""
    return encode_png(draw(1000 + 10 * identity + slot, round_body=False, side=SIDE)[0])


def _positive(identity: int, views: int, split: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(POSITIVES.names)
    row |= {"id": identity, "category": "rigid", "category_description": f"object {identity}", "n_images": views}
    row |= {"objaverse_id": f"asset-{identity}", "quality": "high", "id_safe": True, "split": split, "dino_01": 0.75}
    for slot in range(1, views + 1):
        image, mask = draw(10 * identity + slot, side=SIDE)
        grey = mask * np.uint8(200)
        grey[0, 0] = 3  # above 0, but no object
        row |= {f"images{slot}": encode_png(image), f"masks{slot}": encode_png(grey), f"size{slot}": [SIDE, SIDE]}
        row |= {f"prompts{slot}": f"object {identity}, {slot}", f"filenames{slot}": f"{identity}_{slot}.jpg"}
        row[f"aesthetics{slot}"] = 6.0 + slot
    return row


def save_mtg(root: Path) -> Path:
    """Both splits of the part-edit set, in the released columns."""
    released = pa.schema([field for field in MTG if field.name != "id"])
    for split, count in (("train", 3), ("test", 2)):
        rows = []
        for sample in range(count):
            row = {}
            for number in (1, 2):
                image, mask = draw(20 * sample + number, side=48)
                part = mask & (np.arange(48) < 24)[:, None]
                edited = np.where(part[..., None], 255 - image, image)
                values = {"original": image, "inpainted": edited, "object_mask": mask, "part_mask": part}
                row |= {f"image_{number}_{name}": encode_png(value) for name, value in values.items()}
            rows.append(row)
        _save(root / f"data/{split}-00000-of-00001.parquet", rows, released)
    return root


def _save(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [
        [value if field.type != IMAGE or value is None else {"bytes": value, "path": "a.png"} for value in values]
        for field, values in ((field, [row[field.name] for row in rows]) for field in schema)
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, row_group_size=2)


def decode(content: bytes) -> np.ndarray:
    """Pixels of an encoded image."""
    return np.asarray(Image.open(io.BytesIO(content)))
