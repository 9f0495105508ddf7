import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import curate, draw, read_bytes
from PIL import Image
from releases import SIDE, save_syncd

from nearid.data.positives import read_rows
from nearid.errors import UserError
from nearid.io.images import decode_grey, decode_stored_mask
from nearid.layout import Layout

OPTIONS = {
    "path": "",
    "dedupe": "each",
    "captions": "",
    "ids": "rigid",
    "min_dino": 0.0,
    "max_dino": 0.0,
    "min_aesthetics": 0.0,
    "official_splits": "",
    "check_counts": True,
    "mtg": "",
}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_syncd(tmp_path_factory.mktemp("syncd"))


def curation(release: Path, **options: Any) -> dict[str, Any]:
    """Settings of `curate_positives`."""
    settings = {"seed": 0, "kind": "syncd", "shards": 2, "splits": {"val": 0, "test": 1}}
    return settings | {"clean_masks": True, "min_views": 2, "options": OPTIONS | {"path": str(release)} | options}


def curated(release: Path, root: Path, **options: Any) -> tuple[Layout, list[dict[str, Any]]]:
    layout = Layout(root / "results")
    curate(curation(release, **options), layout)
    return layout, [row for shard in ("000", "001") for row in read_rows(layout.positives(shard))]


def test_the_protocol_keeps_and_drops_what_it_should(
    release: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        layout, rows = curated(release, tmp_path)
    # Deformable records come first, since their folder sorts first; ids count rigid records.
    assert [(row["id"], row["objaverse_id"], row["n_images"]) for row in rows] == [
        (0, "asset-a", 2),
        (3, "asset-c", 3),
        (7, "asset-f", 2),
        (10, "asset-i", 2),
    ]
    with layout.dropped.open() as stream:
        records = list(csv.DictReader(stream, delimiter="\t"))
    fates = {row["name"]: row["reason"] for row in records if not row["view"]}
    assert fates == {
        "syncd_000000": "category 'deformable': only rigid objects have an asset and a text",
        "syncd_000002": "same text as syncd_000001",
        "syncd_000003": "same asset as syncd_000001",
        "syncd_000005": "1 usable views, 2 needed",
        "syncd_000006": "no asset id",
        "syncd_000007": "no foreground text",
        "syncd_000009": "1 usable views, 2 needed",
        "syncd_000010": "1 usable views, 2 needed",
    }
    views = {row["view"]: row["reason"] for row in records if row["view"]}
    assert list(views) == ["object8_1.jpg", "object9_1.jpg", "object10_0.jpg"]
    assert views["object8_1.jpg"] == "no such mask file"
    assert "Truncated" in views["object9_1.jpg"] and "empty mask" in views["object10_0.jpg"]

    steps, counts = layout.funnel.read_text().split("\n\n")
    kept = {line.split("\t")[0]: tuple(map(int, line.split("\t")[1:])) for line in steps.splitlines()[1:]}
    assert kept == {
        "records": (12, 0),
        "rigid": (11, 1),
        "asset id": (10, 1),
        "foreground text": (9, 1),
        "SynCD scores": (9, 0),
        "usable views": (6, 3),
        "unique asset and text": (4, 2),
    }
    assert counts.splitlines()[1:] == [
        "identities\t4\t19386\t-19382",
        "images\t9\t45215\t-45206",
        "with two views\t3\t12943\t-12940",
        "with three views\t1\t6443\t-6442",
    ]
    assert "images: 9 here, 45215 in the paper, difference -45206" in caplog.text


def test_columns_follow_their_view_when_another_falls_out(release: Path, tmp_path: Path) -> None:
    _, rows = curated(release, tmp_path)
    row = next(row for row in rows if row["id"] == 7)
    assert [row[f"filenames{slot}"] for slot in (1, 2, 3)] == ["object8_0.jpg", "object8_2.jpg", None]
    assert [row[f"aesthetics{slot}"] for slot in (1, 2, 3)] == [5.0, 7.0, None]
    assert (row["dino_01"], row["dino_02"], row["category"]) == (0.8, None, "rigid")
    assert (row["category_description"], row["prompts2"]) == ("a vase", "a vase in place 2")


def test_cleaned_masks_lose_the_noise_and_keep_the_object(release: Path, tmp_path: Path) -> None:
    _, rows = curated(release, tmp_path)
    for slot in (1, 2):
        _, mask = draw(slot - 1, side=SIDE)
        released = decode_stored_mask(release / f"rigid/masks/object0_{slot - 1}.jpg")
        cleaned = decode_stored_mask(rows[0][f"masks{slot}"]["bytes"])
        assert (released & ~mask).sum() > 100  # JPEG noise
        overlap = (cleaned & mask).sum() / (cleaned | mask).sum()
        assert overlap > 0.8 and overlap > (released & mask).sum() / (released | mask).sum()
        far = np.hypot(*(np.mgrid[:SIDE, :SIDE] - SIDE / 2)) > 0.45 * SIDE
        assert not cleaned[far].any()


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"dedupe": "pair"}, [0, 1, 2, 3, 7, 10]),
        ({"ids": "release"}, [1, 4, 8, 11]),
        ({"min_aesthetics": 5.0, "min_dino": 0.7}, [0, 3, 7, 10]),
        ({"min_dino": 0.9}, []),
        # All pairs of views have a similarity of 0.8.
        ({"min_dino": 0.7, "max_dino": 0.8}, [0, 3, 7, 10]),
        ({"min_dino": 0.7, "max_dino": 0.79}, []),
    ],
)
def test_choices_are_settings(release: Path, tmp_path: Path, options: dict[str, Any], ids: list[int]) -> None:
    if not ids:
        with pytest.raises(UserError, match="SynCD's scores"):
            curated(release, tmp_path, **options)
        return
    _, rows = curated(release, tmp_path, **options)
    assert [row["id"] for row in rows if row["objaverse_id"]] == ids


def test_texts_may_come_from_a_file_of_captions(release: Path, tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text('asset-e,"a book, open"\nasset-a,never used\n')
    _, rows = curated(release, tmp_path, captions=str(tmp_path / "captions.csv"))
    assert {row["id"]: row["category_description"] for row in rows}[6] == "a book, open"
    assert rows[0]["category_description"] == "a red kettle"


def test_official_splits_are_kept_or_refused(release: Path, tmp_path: Path) -> None:
    official = {"train": [3, 1], "val": [0], "test": [2]}
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(official))
    layout, rows = curated(release, tmp_path, official_splits=str(path))
    assert json.loads(layout.splits.read_text()) == {"train": [1, 3], "val": [0], "test": [2], "seed": None}
    assert [row["split"] for row in rows] == ["val", "train", "test", "train"]
    path.write_text(json.dumps(official | {"test": [2, 4]}))
    with pytest.raises(UserError, match="5 rows for 4 identities"):
        curated(release, tmp_path, official_splits=str(path))
    path.write_text(json.dumps(official | {"test": [2, 1]}))
    with pytest.raises(UserError, match="1 rows in two splits"):
        curated(release, tmp_path, official_splits=str(path))


def test_raw_masks_are_kept_beside_the_cleaned_ones(release: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "results")
    curate(curation(release) | {"keep_raw_masks": True}, layout)
    _, plain = curated(release, tmp_path / "plain")
    rows = [row for shard in ("000", "001") for row in read_rows(layout.positives(shard))]
    assert [{key: row[key] for key in plain[0]} for row in rows] == plain, "all else is what it was"
    for slot in (1, 2):
        with Image.open(release / f"rigid/masks/object0_{slot - 1}.jpg") as released:
            assert np.array_equal(decode_grey(rows[0][f"raw_masks{slot}"]["bytes"]), np.asarray(released.convert("L")))
    assert rows[0]["raw_masks3"] is None


@pytest.mark.parametrize("form", ["one file", "folder", "released positives"])
def test_official_identities_are_found_by_asset_whatever_rows_there_are(
    release: Path, tmp_path: Path, form: str
) -> None:
    """Ours: ids 0, 3, 7, 10 with assets a, c, f, i."""
    listed = {
        # Another id with the same asset is the same identity; the same id with another asset is not.
        "train": [(0, "asset-a"), (3, "asset-elsewhere")],
        "val": [(10, "asset-i")],
        "test": [(99, "asset-c"), (12, "asset-nowhere")],
    }
    path = tmp_path / "official"
    path.mkdir()
    entries = {name: [{"id": id, "objaverse_id": asset} for id, asset in of] for name, of in listed.items()}
    if form == "one file":
        path = path / "splits.json"
        path.write_text(json.dumps(entries))
    elif form == "folder":
        for name, of in entries.items():
            (path / f"{name}.json").write_text(json.dumps(of))
    else:
        rows = [{"split": name, **entry} for name, of in entries.items() for entry in of]
        pq.write_table(pa.Table.from_pylist(rows), path / "train.parquet")
    layout, rows = curated(release, tmp_path, official_splits=str(path))
    assert [(row["id"], row["split"]) for row in rows] == [(0, "train"), (3, "test"), (7, "train"), (10, "val")]
    assert json.loads(layout.splits.read_text())["seed"] is None
    funnel = layout.funnel.read_text().split("official split")[1].splitlines()[1:]
    assert funnel == ["train\t2\t1\t0\t1", "val\t1\t1\t0\t0", "test\t2\t0\t1\t1"]


def test_a_list_of_other_identities_is_refused(release: Path, tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    entry = {"id": 1, "objaverse_id": "asset-of-another-world"}
    path.write_text(json.dumps({"train": [], "val": [], "test": [entry]}))
    with pytest.raises(UserError, match="none of 1 official test identities"):
        curated(release, tmp_path, official_splits=str(path))


def test_without_official_positions_the_seed_draws_them(release: Path, tmp_path: Path) -> None:
    layout, _ = curated(release, tmp_path)
    splits = json.loads(layout.splits.read_text())
    assert splits["seed"] == 0 and len(splits["test"]) == 1 and len(splits["train"]) == 3


def test_workers_change_nothing(release: Path, tmp_path: Path) -> None:
    layout, _ = curated(release, tmp_path)
    other = Layout(tmp_path / "other")
    curate(curation(release), other, workers=2)
    assert read_bytes(other) == read_bytes(layout)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no \\*metadata.json"), ("{", "no JSON"), ("{}", "dict")], ids=str
)
def test_a_folder_that_is_no_release_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content:
        (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(UserError, match=message):
        curated(tmp_path, tmp_path)


def test_pictures_may_lie_where_the_archives_were_unpacked(release: Path, tmp_path: Path) -> None:
    """One table at the top, PNG views in numbered folders and masks beside them, the layout of public readers."""
    root = tmp_path / "syncd"
    records = []
    for number in range(3):
        image, mask = draw(number, side=SIDE)
        files = [f"{number}/view_{view}.png" for view in range(2)]
        for file in files:
            picture = root / "unpacked" / file
            (picture.parent / "masks").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(picture)
            Image.fromarray(mask.astype(np.uint8) * 255).save(picture.parent / "masks" / f"{picture.stem}.jpg")
        record = {"filenames": files, "prompts": ["here", "there"], "objaverse_id": f"asset-{number}"}
        records.append(record | {"category": "rigid", "category_description": f"thing {number}"})
    (root / "metadata.json").write_text(json.dumps(records))
    _, rows = curated(root, tmp_path)
    assert [row["objaverse_id"] for row in rows] == ["asset-0", "asset-1", "asset-2"]
    assert rows[0]["filenames1"] == "0/view_0.png"


def test_records_without_texts_say_what_to_fetch_before_a_picture_is_read(release: Path, tmp_path: Path) -> None:
    records = [{"filenames": ["none.jpg"], "objaverse_id": "asset-a", "category": "rigid", "prompts": ["x"]}]
    (tmp_path / "metadata.json").write_text(json.dumps(records))
    with pytest.raises(UserError, match=r"none of 1 rigid records has a text") as error:
        curated(tmp_path, tmp_path)
    assert "resources/cap3d/" in error.value.action
    (tmp_path / "captions.csv").write_text('asset-z,"another"\n')
    with pytest.raises(UserError, match=r"nor has .*captions.csv one of their ids"):
        curated(tmp_path, tmp_path, captions=str(tmp_path / "captions.csv"))
