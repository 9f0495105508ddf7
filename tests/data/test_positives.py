import csv
import json
import signal
import sys
import unicodedata
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from killing import run_until
from pictures import curate, curation, draw, read_bytes, save_folder
from PIL import Image

from nearid.config.schema.dataset import ImageFolder
from nearid.config.settings.data import OwnData
from nearid.data import positives
from nearid.data.datasets.image_folder import Dataset
from nearid.data.positives import read_rows
from nearid.data.records import Dropped, Identity, View
from nearid.errors import UserError
from nearid.io.images import decode_rgb, decode_stored_mask
from nearid.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "results")


def drops(layout: Layout) -> dict[tuple[str, str], str]:
    with layout.dropped.open() as stream:
        return {(row["name"], row["view"]): row["reason"] for row in csv.DictReader(stream, delimiter="\t")}


def test_rows_hold_the_pictures_and_the_files_agree(tmp_path: Path, layout: Layout) -> None:
    folder = save_folder(tmp_path / "in", {f"thing {n}": 2 + n % 2 for n in range(5)})
    curate(curation(folder, shards=2, val=1, test=2), layout)
    rows = read_rows(layout.positives("000")) + read_rows(layout.positives("001"))
    identities = read_rows(layout.identities)
    splits = json.loads(layout.splits.read_text())
    assert [row["name"] for row in identities] == [f"thing_{n}" for n in range(5)]
    assert [(row["shard"], row["shard_row"]) for row in identities] == [
        ("000", 0), ("000", 1), ("001", 0), ("001", 1), ("001", 2)
    ]  # fmt: skip
    for row, identity in zip(rows, identities, strict=True):
        assert row["id"] == identity["id"]
        assert row["split"] == identity["split"]
        assert identity["row"] in splits[identity["split"]]
        for view in range(row["n_images"]):
            image, mask = draw(100 * identity["row"] + view, round_body=identity["row"] % 2 == 0)
            np.testing.assert_array_equal(decode_rgb(row[f"images{view + 1}"]["bytes"]), image)
            np.testing.assert_array_equal(decode_stored_mask(row[f"masks{view + 1}"]["bytes"]), mask)
        assert (row["images3"] is None) == (row["n_images"] == 2)
    assert drops(layout) == {}
    assert not list(layout.root.rglob(".*"))


def test_datasets_reads_the_released_columns(tmp_path: Path, layout: Layout) -> None:
    datasets = pytest.importorskip("datasets")
    curate(curation(save_folder(tmp_path / "in", {"a": 2, "b": 3})), layout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = datasets.load_dataset(
            "parquet", data_files=str(layout.positives("000")), split="train", cache_dir=str(tmp_path / "cache")
        )
    names = ("images", "masks", "aesthetics", "size", "prompts", "filenames")
    numbered = {f"{name}{slot}" for name in names for slot in (1, 2, 3)}
    assert set(table.column_names) == numbered | {
        "id", "category", "category_description", "n_images", "objaverse_id", "quality", "dino_01", "dino_02",
        "dino_12", "id_safe", "split",
    }  # fmt: skip
    np.testing.assert_array_equal(np.asarray(table[1]["images3"]), draw(102, round_body=False)[0])
    assert table[0]["images3"] is None
    assert table[0]["size1"] == [48, 48]


def test_everything_that_falls_out_is_listed(tmp_path: Path, layout: Layout) -> None:
    names = {"good": 4, "cut": 3, "maskless": 2, "lonely": 1, "blank": 3, "odd": 3}
    folder = save_folder(tmp_path / "in", names)
    picture = folder / "cut" / "01.png"
    picture.write_bytes(picture.read_bytes()[:-200])
    mask = folder / "good" / "02.mask.png"
    mask.write_bytes(mask.read_bytes()[:60])
    (folder / "maskless" / "01.mask.png").unlink()
    Image.new("L", (48, 48)).save(folder / "blank" / "00.mask.png")
    Image.new("L", (48, 48), 255).save(folder / "blank" / "01.mask.png")
    Image.new("L", (48, 20), 255).save(folder / "odd" / "00.mask.png")
    (folder / "odd" / "notes.txt").write_text("no picture")
    (folder / "odd" / "07.mask.png").write_bytes((folder / "odd" / "01.mask.png").read_bytes())
    curate(curation(folder), layout)
    assert [row["name"] for row in read_rows(layout.identities)] == ["cut", "good", "odd"]
    found = drops(layout)
    assert found.keys() == {
        ("good", "02.png"), ("cut", "01.png"), ("maskless", "maskless/01.png"), ("maskless", ""), ("lonely", ""),
        ("blank", "blank/00.png"), ("blank", "blank/01.png"), ("blank", ""),
        ("odd", "00.png"), ("odd", "notes.txt"), ("odd", "07.mask.png"),
    }  # fmt: skip
    assert "no readable image" in found["cut", "01.png"]
    assert found["good", "02.png"].startswith("mask 02.mask.png: no readable image")
    assert "no mask file" in found["maskless", "maskless/01.png"]
    assert found["lonely", ""] == "1 usable views, 2 needed"
    assert "48 x 20" in found["odd", "00.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: save_folder(folder, {"Red-Cup": 2, "red cup": 2}), "'Red-Cup' and 'red cup'"),
        (lambda folder: (folder / "classes.csv").write_text("subject,class\na,x\nzz,y\n"), r"\['b'\].*\['zz'\]"),
        (lambda folder: (folder / "classes.csv").write_text("name,class\n"), "subject,class"),
    ],
    ids=["one name twice", "class file of other folders", "class file without header"],
)
def test_a_folder_that_cannot_be_meant_is_refused(tmp_path: Path, layout: Layout, change: Any, message: str) -> None:
    folder = save_folder(tmp_path / "in", {"a": 2, "b": 2})
    change(folder)
    with pytest.raises(UserError, match=message):
        curate(curation(folder), layout)
    assert not layout.identities.exists()


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (("кружка", "чашка"), {"кружка", "чашка"}),
        (("tasse_é", "tasse_è"), {"tasse_é", "tasse_è"}),
        (("杯子", "茶壶"), {"杯子", "茶壶"}),
        (("हिन्दी", "हन्दी"), None),
        (("🙂", "🙃"), {"1f642", "1f643"}),
        (("cafe\u0301", "cafe"), {"café", "cafe"}),
        (("Red-Cup", "blue cup!"), {"red_cup", "blue_cup"}),
    ],
)
def test_names_of_any_script_stay_apart(tmp_path: Path, folders: tuple[str, ...], names: set[str] | None) -> None:
    found = Dataset(ImageFolder(path=str(save_folder(tmp_path, dict.fromkeys(folders, 1)))), 0).names()
    assert len(set(found)) == 2 and (names is None or set(found) == names)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_table_matches_folders_however_accents_are_written(tmp_path: Path, layout: Layout, form: Any) -> None:
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    folder = save_folder(tmp_path / "in", {unicodedata.normalize(form, "tasse_é"): 2, "verre": 2})
    (folder / "classes.csv").write_text(f"subject,class\n{unicodedata.normalize(other, 'tasse_é')},cup\nverre,glass\n")
    curate(curation(folder), layout)
    assert {row["name"]: row["class_name"] for row in read_rows(layout.identities)} == {
        "tasse_é": "cup",
        "verre": "glass",
    }


def test_a_second_spelling_of_a_view_is_listed(tmp_path: Path, layout: Layout) -> None:
    folder = save_folder(tmp_path / "in", {"a": 2, "b": 2})
    for name in ("00.jpg", "00.JPEG", "01.webp"):
        Image.fromarray(draw(0)[0]).save(folder / "a" / name)
    curate(curation(folder), layout)
    found = drops(layout)
    assert set(found) == {("a", "00.jpg"), ("a", "00.png"), ("a", "01.webp")}
    assert found["a", "00.png"] == "another view of this name: 00.JPEG"


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"shards": 3}, "2 usable identities for 3 shards"), ({"splits": {"val": 1, "test": 2}}, "= 3, but 2 usable")],
)
def test_settings_that_do_not_fit_the_data_are_refused(
    tmp_path: Path, layout: Layout, settings: dict[str, Any], message: str
) -> None:
    folder = save_folder(tmp_path / "in", {"a": 2, "b": 2})
    with pytest.raises(UserError, match=message):
        curate(curation(folder) | settings, layout)
    assert not layout.identities.exists()


def test_two_identities_with_one_id_are_refused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    class Twins:
        def names(self) -> list[str]:
            return ["first", "second"]

        def fingerprint(self) -> str:
            return ""

        def load(self, index: int) -> tuple[Identity, list[Dropped]]:
            views = tuple(View(*draw(view), "", f"{view}") for view in range(2))
            return Identity(7, self.names()[index], "x", "an x", views), []

    monkeypatch.setattr(positives, "open_dataset", lambda *_: Twins())
    with pytest.raises(UserError, match="'first' and 'second' both have id 7"):
        curate(curation(Path()), layout)


def test_a_kind_of_your_own_gets_its_options(tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module with a `Dataset`; the curation reads only those of its own options that the kind has."""

    class Own(Dataset):
        def __init__(self, options: OwnData, seed: int) -> None:
            super().__init__(ImageFolder(path=options.pictures, mask_estimator=""), seed)  # type: ignore[attr-defined]

    monkeypatch.setitem(sys.modules, "nearid.data.datasets.own", SimpleNamespace(Dataset=Own))
    folder = save_folder(tmp_path / "in", {"a": 2, "b": 2, "c": 3})
    own = {"kind": "own", "options": {"pictures": str(folder), "dedupe": "each"}}
    curate(curation(folder) | own, layout)
    assert [row["name"] for row in read_rows(layout.identities)] == ["a"], "without an asset all are one"
    del own["options"]["dedupe"]
    curate(curation(folder) | own, layout)
    assert [row["name"] for row in read_rows(layout.identities)] == ["a", "b", "c"]


def test_options_left_to_the_schema_are_refused(layout: Layout) -> None:
    """No fingerprint covers them."""
    with pytest.raises(UserError, match="mask_estimator, mask_model, size_px missing"):
        curate(curation(Path()) | {"options": {"path": "in"}}, layout)


def test_a_mended_folder_is_read_again_after_a_failure(tmp_path: Path, layout: Layout) -> None:
    folder = save_folder(tmp_path / "in", {"a": 2, "b": 1})
    with pytest.raises(UserError):
        curate(curation(folder, shards=2), layout)
    for source, target in (("00.png", "01.png"), ("00.mask.png", "01.mask.png")):
        (folder / "b" / target).write_bytes((folder / "a" / source).read_bytes())
    curate(curation(folder, shards=2), layout)
    assert len(read_rows(layout.identities)) == 2


def test_fewer_shards_leave_no_stale_ones(tmp_path: Path, layout: Layout) -> None:
    folder = save_folder(tmp_path / "in", {"a": 2, "b": 2})
    for shards in (2, 1):
        curate(curation(folder, shards=shards), layout)
    assert not layout.positives("001").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_and_parallel_runs_give_the_same_bytes(tmp_path: Path, layout: Layout, number: signal.Signals) -> None:
    folder = save_folder(tmp_path / "in", {f"thing {n}": 2 for n in range(12)}, masks=False)
    settings = curation(folder, shards=2, val=2, test=4, estimator="grabcut")
    curate(settings, layout)

    disturbed = Layout(tmp_path / "disturbed")
    progress = disturbed.root / "data" / ".progress"
    command = ["data", "curate", "--results", str(disturbed.root), "--workers", "2"]
    run_until(lambda: len(list(progress.rglob("*.json"))) >= 2, command, settings, number=number)
    assert not disturbed.identities.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in progress.rglob("*.json")}
    reused: dict[str, int] = {}
    original = positives._write_shards

    def spy(*arguments: Any) -> None:
        reused.update({path.name: path.stat().st_mtime_ns for path in progress.rglob("*.json")})
        original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(positives, "_write_shards", spy)
        curate(settings, disturbed)
    assert kept.items() <= reused.items()
    assert read_bytes(disturbed) == read_bytes(layout)
