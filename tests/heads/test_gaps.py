"""Damaged images as gaps: they are empty slots for training, and nothing else changes."""

import json

import image_world
import numpy as np
import pytest
from image_world import PatchBackbone
from token_world import settings

from nearid.config.settings.heads import TrainHead
from nearid.errors import UserError
from nearid.heads import training
from nearid.heads.inputs import open_mix
from nearid.heads.tuples import PADDING
from nearid.io.tables import read_table, write_table

pytestmark = pytest.mark.numerics

# ids 50, 51, ... have 2, 3, 2, 3, 2, 2, 3, 2 views; 58 and 59 are for validation.
DAMAGED = [
    ("positives", "images2", 1),  # id 51 keeps two of three views
    ("positives", "images1", 2),  # id 52 has one left: it cannot train
    ("positives", "masks1", 3),  # id 53, by its mask
    ("positives", "images1", 8),
    ("one", "nimg1", 0),
    ("one", "nimg2", 0),  # id 50 has no distractor of this source
    ("two", "nimg3", 6),
    ("mtg_train", "image_1_original", 1),  # sample 1 has one original left
    ("mtg_train", "image_2_inpainted", 2),
]

# The distractors of id 53 use the damaged mask too.
GAPS = {"positives": 4, "one": 3, "two": 2, "mtg_train": 2}


def damage(layout, collection, column, row):
    paths = {"positives": layout.positives("000"), "mtg_train": layout.mtg("train")}
    path = paths.get(collection) or layout.distractors(collection, "000")
    table = read_table(path)
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    columns = {
        name: [value["bytes"] if isinstance(value, dict) else value for value in values]
        for name, values in columns.items()
    }
    columns[column][row] = columns[column][row][:60]
    write_table(path, columns, image_world.schema_of(columns))


@pytest.fixture
def layout(tmp_path):
    layout = image_world.write_images(tmp_path)
    for place in DAMAGED:
        damage(layout, *place)
    return layout


def test_a_gap_is_an_empty_slot_and_every_other_draw_stays(layout, tmp_path):
    image_world.extract_all(layout, PatchBackbone(), leave_gaps=True)
    whole = image_world.write_images(tmp_path / "whole")
    image_world.extract_all(whole, PatchBackbone())
    source, other = (
        open_mix(own, TrainHead.parse(settings(validate_every_steps=3)), PatchBackbone()) for own in (layout, whole)
    )
    assert source.gaps == GAPS
    assert source.left_out == {"nearid": [52], "mtg": [1]}
    assert (other.gaps, other.left_out) == ({}, {})
    assert [len(part.rows) for part in source.mix.samples] == [7, 3]

    def names(own, part, epoch):
        drawn = own.mix.samples[part].draw(3, epoch, own.mix.mask_probability, {})
        shown = [[own.pool.name(place) if place != PADDING else None for place in row] for row in drawn.images]
        return dict(zip(drawn.ids.tolist(), shown, strict=True))

    lost = {
        ("positives", 51, 1),
        ("positives", 53, 0),
        ("one", 50, 0),
        ("one", 50, 1),
        ("two", 56, 2),
        ("mtg_train", 2, 3),
    }
    hit = 0
    for epoch in range(20):
        for part in (0, 1):
            here, there = names(source, part, epoch), names(other, part, epoch)
            assert here.keys() == there.keys() - {52 if part == 0 else 1}
            for id, shown in here.items():
                if part == 0 and id in (51, 53):
                    assert [name is None for name in shown] == [False, False, True] * 2
                    assert len({name.split("/")[2] for name in shown if name}) == 2
                    continue
                for mine, full in zip(shown, there[id], strict=True):
                    key = full and (full.split("/")[0], int(full.split("/")[1]), int(full.split("/")[2]))
                    assert mine == (None if key in lost else full)
                    hit += key in lost
    assert hit > 20
    # Validation image 58/0 is a gap: no pair of views is left, so there are no margins.
    assert source.held_out.valid.sum() == other.held_out.valid.sum() - 2 * len(other.mix.samples[0].distractors[0])


def test_training_goes_on_and_says_what_it_left_out(layout, trained, monkeypatch, caplog):
    monkeypatch.setattr(training, "load_backbone", lambda _: PatchBackbone())
    image_world.extract_all(layout, PatchBackbone(), leave_gaps=True)
    folder = trained(layout, settings(validate_every_steps=2, batch_size=4))
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["gaps"] == GAPS
    assert provenance["left_out_for_gaps"] == {"nearid": [52], "mtg": [1]}
    assert provenance["samples"] == {"nearid": 7, "mtg": 3}
    assert "left out" in caplog.text
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert len(lines) == provenance["steps"] and all(np.isfinite(line["loss"]) for line in lines)
    assert all(np.isfinite(line["val_ssr"]) for line in lines if "val_ssr" in line)


def test_by_default_and_online_a_damaged_image_ends_it(layout, trained, monkeypatch):
    monkeypatch.setattr(training, "load_backbone", lambda _: PatchBackbone())
    with pytest.raises(UserError, match=r"(?s)id 51, slot 1.*no readable image"):
        image_world.extract_all(layout, PatchBackbone())
    with pytest.raises(UserError, match="no readable image"):
        trained(layout, settings(tokens="online"))


def test_a_world_of_gaps_alone_is_refused(tmp_path, trained, monkeypatch):
    monkeypatch.setattr(training, "load_backbone", lambda _: PatchBackbone())
    layout = image_world.write_images(tmp_path)
    for row in range(8):
        damage(layout, "positives", "images1", row)
        damage(layout, "positives", "images2", row)
    image_world.extract_all(layout, PatchBackbone(), leave_gaps=True)
    with pytest.raises(UserError, match="0 samples"):
        trained(layout, settings(mix={"sources": ["one"], "nearid_repeats": 1, "mtg_repeats": 0, "severities": {}}))
