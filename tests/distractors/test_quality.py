import json
from pathlib import Path

import numpy as np
import pytest
from painters import paint_shard
from pictures import curate, curation, read_bytes, save_folder
from PIL import Image
from test_runner import FEATHERED, SEAMLESS, painting, pairs

from nearid.config.settings.distractors import MakeQualitySheet
from nearid.distractors.quality import make_quality_sheet
from nearid.layout import Layout

SETTINGS = {"seed": 0, "source_id": "source", "dilate_px": 3, "shards": 2, "examples": 3, "size_px": 32}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    root = tmp_path_factory.mktemp("quality")
    names = {"a1": 2, "a2": 3, "a3": 2, "b1": 2}
    folder = save_folder(root / "in", names, classes={name: name[0] for name in names})
    layout = Layout(root / "results")
    curate(curation(folder, shards=2, test="all"), layout)
    for shard in ("000", "001"):
        paint_shard(painting(FEATHERED), layout, shard)
        paint_shard(painting(SEAMLESS | {"paste_back": False}, "whole"), layout, shard)
    return layout


def test_the_numbers_are_those_of_the_pixels(layout: Layout) -> None:
    make_quality_sheet(MakeQualitySheet.parse(SETTINGS), layout)
    content = json.loads(layout.quality("source", "json").read_text())
    assert (content["views"], content["painted"]) == (9, 7)
    assert content["empty_by_reason"] == {"no other identity of class 'b' in split 'test'": 2}
    found = [np.abs(d[m].astype(float) - v[m]).mean() for shard in ("000", "001") for v, m, d in _pairs(layout, shard)]
    assert content["difference_inside"]["mean"] == pytest.approx(np.mean(found), abs=1e-3)
    assert content["difference_inside"]["p0"] == pytest.approx(min(found), abs=1e-3)
    assert content["least_different"][0]["difference_inside"] == pytest.approx(min(found), abs=1e-3)
    assert content["difference_outside"]["p100"] == 0 and content["changed_outside"] == 0


def _pairs(layout: Layout, shard: str) -> list:
    class One:
        positives = staticmethod(lambda _: layout.positives(shard))
        distractors = staticmethod(lambda source, _: layout.distractors(source, shard))

    return pairs(One, "source")


def test_without_paste_back_the_change_outside_is_told(layout: Layout) -> None:
    make_quality_sheet(MakeQualitySheet.parse(SETTINGS | {"source_id": "whole"}), layout)
    assert json.loads(layout.quality("whole", "json").read_text())["changed_outside"] == 7


def test_the_sheet_has_a_row_per_example_and_the_same_bytes_again(layout: Layout, tmp_path: Path) -> None:
    make_quality_sheet(MakeQualitySheet.parse(SETTINGS), layout)
    with Image.open(layout.quality("source", "png")) as sheet:
        assert sheet.size == (4 * 32, 3 * (32 + 14))
    before = read_bytes(layout)
    make_quality_sheet(MakeQualitySheet.parse(SETTINGS), layout)
    assert read_bytes(layout) == before
