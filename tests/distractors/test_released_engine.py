from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from painters import paint_shard
from pictures import curate
from releases import decode, distractor, save_nearid
from test_released import OPTIONS, curation
from test_runner import SOURCE

from nearid.data.positives import read_rows
from nearid.errors import UserError
from nearid.layout import Layout


def painting(positives: Path, distractors: Path, **source: Any) -> dict[str, Any]:
    """Settings of `inpaint_shard`."""
    released = {"engine": "released", "paste_back": False, "options": {"path": str(distractors)}}
    dataset = {"kind": "nearid", "options": OPTIONS | {"path": str(positives)}}
    common = {"seed": 0, "source_id": "flux", "splits": ["train", "val", "test"], "dataset": dataset}
    return common | {"source": SOURCE | released | source}


@pytest.fixture
def world(tmp_path: Path) -> tuple[Layout, Path, Path]:
    positives, distractors = save_nearid(tmp_path)
    layout = Layout(tmp_path / "results")
    curate(curation(positives), layout)
    return layout, positives, distractors


def rewrite(folder: Path, change: Any) -> None:
    (path,) = folder.rglob("*.parquet")
    pq.write_table(change(pq.read_table(path)), path)


def test_released_distractors_reach_their_rows_and_slots(world: Any) -> None:
    layout, positives, distractors = world
    for shard in ("000", "001"):
        paint_shard(painting(positives, distractors), layout, shard)
        rows = zip(read_rows(layout.positives(shard)), read_rows(layout.distractors("flux", shard)), strict=True)
        for positive, row in rows:
            assert row["id"] == positive["id"]
            for slot in range(1, positive["n_images"] + 1):
                wanted = decode(distractor(row["id"], slot))
                np.testing.assert_array_equal(decode(row[f"nimg{slot}"]["bytes"]), wanted)


def test_one_source_may_be_regenerated_beside_the_released_one(world: Any) -> None:
    layout, positives, distractors = world
    paint_shard(painting(positives, distractors), layout, "000")
    own = painting(positives, distractors) | {"source_id": "ours"}
    paint_shard(own | {"source": SOURCE | {"options": {"blend": "feather"}}}, layout, "000")
    both = [read_rows(layout.distractors(name, "000")) for name in ("flux", "ours")]
    assert [row["id"] for row in both[0]] == [row["id"] for row in both[1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.take([1, 0, 2, 3, 4]), "row 0: id 17, not 3"),
        (lambda table: table.slice(0, 4), "4 rows for the 5"),
        (lambda table: table.drop_columns(["nimg1"]), "also nimg1"),
        (
            lambda table: table.set_column(
                table.schema.get_field_index("category_description"), "category_description", [["other"] * 5]
            ),
            "the text 'other'",
        ),
    ],
    ids=["another order", "a row less", "no such column", "another text"],
)
def test_a_set_of_other_positives_is_refused(world: Any, change: Any, message: str) -> None:
    layout, positives, distractors = world
    rewrite(distractors, change)
    with pytest.raises(UserError, match=message):
        paint_shard(painting(positives, distractors), layout, "000")
    assert not layout.distractors("flux", "000").exists()
