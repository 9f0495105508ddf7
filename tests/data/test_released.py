import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import curate, draw
from releases import SIDE, decode, save_mtg, save_nearid

from nearid.config.settings.data import MakeMTG
from nearid.data.mtg import write_mtg
from nearid.data.positives import read_rows
from nearid.data.released import ReleasedTable
from nearid.errors import UserError
from nearid.io.images import decode_rgb, decode_stored_mask
from nearid.layout import Layout

OPTIONS = {"official_splits": "", "check_counts": False, "mtg": ""}


def curation(path: Path) -> dict[str, Any]:
    """Settings of `curate_positives`."""
    settings = {"seed": 0, "kind": "nearid", "shards": 2, "splits": {"val": 1, "test": 1}}
    return settings | {"clean_masks": True, "min_views": 2, "options": OPTIONS | {"path": str(path)}}


def test_released_positives_keep_ids_order_texts_scores_and_splits(tmp_path: Path) -> None:
    positives, _ = save_nearid(tmp_path)
    layout = Layout(tmp_path / "results")
    curate(curation(positives), layout)
    rows = [row for shard in ("000", "001") for row in read_rows(layout.positives(shard))]
    assert [(row["id"], row["n_images"], row["split"]) for row in rows] == [
        (3, 2, "train"),
        (17, 2, "train"),
        (40, 3, "train"),
        (41, 2, "train"),
        (90, 2, "test"),
    ]
    assert json.loads(layout.splits.read_text()) == {"train": [0, 1, 2, 3], "val": [], "test": [4], "seed": None}
    first = rows[0]
    assert (first["objaverse_id"], first["quality"], first["id_safe"]) == ("asset-3", "high", True)
    assert (first["dino_01"], first["aesthetics2"], first["aesthetics3"]) == (0.75, 8.0, None)
    image, mask = draw(31, side=SIDE)
    np.testing.assert_array_equal(decode_rgb(first["images1"]["bytes"]), image)
    cleaned = decode_stored_mask(first["masks1"]["bytes"])
    assert not cleaned[0, 0] and (cleaned & mask).sum() / (cleaned | mask).sum() > 0.85


def test_without_a_split_column_the_seed_draws(tmp_path: Path) -> None:
    positives, _ = save_nearid(tmp_path, split=False)
    layout = Layout(tmp_path / "results")
    curate(curation(positives), layout)
    splits = json.loads(layout.splits.read_text())
    assert (splits["seed"], len(splits["val"]), len(splits["test"])) == (0, 1, 1)


def test_a_missing_part_of_a_released_set_is_told(tmp_path: Path) -> None:
    positives, _ = save_nearid(tmp_path)
    (positives / "data/train-00000-of-00002.parquet").unlink()
    with pytest.raises(UserError, match="1 of 2 parts"):
        curate(curation(positives), Layout(tmp_path / "results"))


def test_a_cut_off_file_is_told(tmp_path: Path) -> None:
    positives, _ = save_nearid(tmp_path)
    path = positives / "data/train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="not a whole Parquet file"):
        ReleasedTable(positives)


def test_rows_are_found_across_files_and_groups(tmp_path: Path) -> None:
    positives, _ = save_nearid(tmp_path)
    table = ReleasedTable(positives)
    assert len(table) == 5
    assert [table.row(at, ["id"])["id"] for at in (4, 0, 2, 3, 1)] == [90, 3, 40, 41, 17]
    assert [row["id"] for block in table.blocks(["id"]) for row in block] == table.column("id")
    with pytest.raises(UserError, match="also nimg1"):
        table.row(0, ["nimg1"])


def test_the_part_edit_set_keeps_its_pixels(tmp_path: Path) -> None:
    folder = save_mtg(tmp_path / "mtg")
    layout = Layout(tmp_path / "results")
    settings = {"seed": 0, "kind": "nearid", "options": OPTIONS | {"path": "", "mtg": str(folder)}}
    write_mtg(MakeMTG.parse(settings), layout, "train")
    write_mtg(MakeMTG.parse(settings), layout, "test")
    rows = read_rows(layout.mtg("train"))
    assert [row["id"] for row in rows] == [0, 1, 2] and len(read_rows(layout.mtg("test"))) == 2
    image, mask = draw(22, side=48)
    np.testing.assert_array_equal(decode(rows[1]["image_2_original"]["bytes"]), image)
    np.testing.assert_array_equal(decode_stored_mask(rows[1]["image_2_object_mask"]["bytes"]), mask)
    with pytest.raises(UserError, match="a folder of the released set"):
        write_mtg(MakeMTG.parse(settings | {"options": OPTIONS | {"path": ""}}), layout, "train")
