"""Training tuples: what may be drawn, how often, and that a draw depends only on its key."""

import copy
import io

import numpy as np
import pyarrow as pa
import pytest
import token_world as world
from PIL import Image

from nearid.config.settings.heads import TrainHead
from nearid.errors import UserError
from nearid.heads.feeds import load_batches
from nearid.heads.inputs import open_mix
from nearid.heads.severity import read_severity
from nearid.heads.tuples import PADDING, MixSampler, Samples
from nearid.io.files import read_json, write_json
from nearid.io.tables import IMAGE, write_table

MASKING = {"anchor": 0.5, "positive": 0.2, "distractor": 0.6}
NO_MASKING = dict.fromkeys(MASKING, 0.0)


def samples(rows=2000, sources=3, three_views=0.34):
    """Positions encode what they are: row * 1000 + slot * 100 + (source + 1) * 10 + variant."""
    number, slot, variant = np.ogrid[:rows, :3, :2]
    views = number * 1000 + slot * 100 + variant
    distractors = views[:, None] + (np.arange(sources)[:, None, None] + 1) * 10
    missing = np.arange(rows) >= rows * three_views
    views[missing, 2], distractors[missing, :, 2] = PADDING, PADDING
    return Samples("nearid", np.arange(rows), np.arange(rows) + 7, views, distractors, distractors[..., 0] / 1e6)


def test_a_tuple_holds_one_identity_with_distractors_on_the_backgrounds_of_its_views():
    tuples = samples().draw(seed=0, epoch=0, mask_probability=MASKING, augmentation={})
    assert np.array_equal(tuples.valid[:, :3], tuples.valid[:, 3:])
    assert np.array_equal(tuples.valid.sum(1), np.where(np.arange(2000) < 680, 6, 4))
    assert tuples.valid[:, :2].all(), "padding stands at the end"
    row, slot = tuples.images // 1000, tuples.images // 100 % 10
    assert np.array_equal(row[tuples.valid], np.repeat(np.arange(2000), tuples.valid.sum(1)))
    assert np.array_equal(slot[:, :3][tuples.valid[:, :3]], slot[:, 3:][tuples.valid[:, 3:]])
    assert (np.sort(slot[:680, :3]) == [0, 1, 2]).all() and (np.sort(slot[680:, :2]) == [0, 1]).all()
    assert (tuples.images[:, :3] // 10 % 10)[tuples.valid[:, :3]].max() == 0
    picked = np.take_along_axis(tuples.valid[:, 1:3], tuples.picks[:, None], axis=1)
    assert picked.all()
    # A severity follows its distractor, whose number (without variant) it is here.
    there = tuples.valid[:, 3:]
    assert np.allclose(tuples.severity[there] * 1e6, (tuples.images[:, 3:] // 10 * 10)[there])


def test_severity_is_the_edited_share_of_the_object(tmp_path):
    def png(count):
        pixels = np.zeros(100, np.uint8)
        pixels[:count] = 255
        stream = io.BytesIO()
        Image.fromarray(pixels.reshape(10, 10)).save(stream, "PNG")
        return stream.getvalue()

    # Part of object: a share, all of it, more than it, no part mask, no object, a part without pixels.
    pairs = [(10, 40), (40, 40), (50, 40), (None, 40), (10, 0), (0, 40)]
    columns = {}
    for number in (1, 2):
        for place, kind in enumerate(("part", "object")):
            areas = [pair[place] for pair in (pairs if number == 1 else pairs[::-1])]
            columns[f"image_{number}_{kind}_mask"] = [None if area is None else png(area) for area in areas]
    write_table(tmp_path / "train.parquet", columns, pa.schema([(name, IMAGE) for name in columns]))
    expected = [0.25, 1.0, 1.0, 0.1, 0.1, 0.0]
    found = read_severity(tmp_path / "train.parquet")
    assert found.T.tolist() == [pytest.approx(expected), pytest.approx(expected[::-1])]


def test_rates_of_draws():
    drawn = [samples().draw(seed=1, epoch=epoch, mask_probability=MASKING, augmentation={}) for epoch in range(10)]
    images = np.concatenate([tuples.images for tuples in drawn])
    masked = np.where(images == PADDING, np.nan, images % 10)
    rates = np.nanmean(masked, axis=0)
    assert rates == pytest.approx([0.5, 0.2, 0.2, 0.6, 0.6, 0.6], abs=0.02)
    two, three = images.reshape(10, 2000, 6)[:, 680:], images.reshape(10, 2000, 6)[:, :680]
    assert np.bincount(two[..., 0].ravel() // 100 % 10) / two[..., 0].size == pytest.approx([1 / 2] * 2, abs=0.02)
    assert np.bincount(three[..., 0].ravel() // 100 % 10) / three[..., 0].size == pytest.approx([1 / 3] * 3, abs=0.02)
    sources = images[:, 3:][images[:, 3:] != PADDING] // 10 % 10
    assert np.bincount(sources)[1:] / len(sources) == pytest.approx([1 / 3] * 3, abs=0.02)
    picks = np.concatenate([tuples.picks[:680] for tuples in drawn])
    assert picks.mean() == pytest.approx(0.5, abs=0.03)
    # Independent slots: knowing the anchor's mask says nothing about the distractor's.
    assert abs(np.corrcoef(masked[:, 0], masked[:, 3])[0, 1]) < 0.03


def test_a_draw_depends_on_its_key_alone():
    whole = samples()
    some = np.array([1500, 3, 700])
    columns = (whole.rows, whole.ids, whole.views, whole.distractors, whole.severity)
    part = Samples("nearid", *(column[some] for column in columns))
    everything = whole.draw(5, 2, MASKING, {})
    assert np.array_equal(part.draw(5, 2, MASKING, {}).images, everything.images[some])
    for seed, epoch in ((5, 3), (6, 2)):
        assert (whole.draw(seed, epoch, MASKING, {}).images != everything.images).any(axis=1).mean() > 0.5


def test_mix_repeats_identical_draws_and_shuffles_each_epoch():
    two = samples(50, sources=1)
    edits = Samples("mtg", two.rows, two.ids + 1000, two.views, two.distractors, two.severity)
    mix = MixSampler([two, edits], [1, 4], seed=0, mask_probability=MASKING)
    assert len(mix) == 250 and mix.steps_per_epoch(64) == 3
    first, second = mix.epoch(0), mix.epoch(1)
    assert sorted(first.ids) == sorted([*two.ids, *([*edits.ids] * 4)])
    assert not np.array_equal(first.ids, second.ids)
    for identity in edits.ids:
        assert len(np.unique(first.images[first.ids == identity], axis=0)) == 1
    assert np.array_equal(mix.epoch(1).images, second.images)
    with pytest.raises(UserError, match="batch_size"):
        mix.steps_per_epoch(251)


@pytest.fixture
def layout(tmp_path):
    return world.write_world(tmp_path)


def test_only_training_identities_are_read_and_tokens_are_theirs(layout):
    pool, mix, empty, *_ = open_mix(layout, TrainHead.parse(world.SETTINGS), world.backbone())
    keys = [(name, *key) for name, store in pool.stores.items() for key in store.keys.tolist()]
    seen = set()
    for epoch in range(3):
        tuples = mix.epoch(epoch)
        for batch in load_batches(pool, [tuples[start : start + 8] for start in range(0, 40, 8)], 8):
            for row, (images, slots) in enumerate(zip(batch.tuples.images, batch.slots, strict=True)):
                for role, (image, slot) in enumerate(zip(images, slots, strict=True)):
                    if image == PADDING:
                        continue
                    collection, id, view, variant = keys[image]
                    seen.add((collection, id))
                    assert id == batch.tuples.ids[row]
                    distractor = collection in ("one", "two") or (collection == "mtg_train" and view >= 2)
                    assert distractor == (role >= 3)
                    expected = pool.stores[collection].read([pool.stores[collection].find(id, view, variant.decode())])
                    assert np.array_equal(batch.tokens[slot], expected[0])
    held_out = set(range(130, 140))
    assert not {id for collection, id in seen if collection != "mtg_train"} & held_out
    assert {"positives", "one", "two", "mtg_train"} == {collection for collection, _ in seen}
    assert empty == {"one": 0, "two": 0}


def test_each_image_is_read_once_per_batch(layout):
    pool, mix, *_ = open_mix(layout, TrainHead.parse(world.SETTINGS), world.backbone())
    tuples = mix.epoch(0)
    doubled = tuples[np.array([0, 1, 0, 1])]
    (batch,) = load_batches(pool, [doubled], 4)
    assert len(batch.tokens) == doubled.valid[:2].sum()
    assert np.array_equal(batch.slots[:2], batch.slots[2:])


@pytest.mark.parametrize("row", [30, 39])
def test_a_held_out_identity_in_training_is_refused(layout, row):
    splits = read_json(layout.splits)
    write_json(layout.splits, splits | {"train": [*splits["train"], row]})
    with pytest.raises(UserError, match=f"id {100 + row}"):
        open_mix(layout, TrainHead.parse(world.SETTINGS), world.backbone())


def test_missing_tokens_of_a_view_name_collection_id_and_slot(tmp_path):
    layout = world.write_world(tmp_path, skip=[("positives", 104, 1)])
    with pytest.raises(UserError, match=r"(?s)positives.*id 104, slot 1"):
        open_mix(layout, TrainHead.parse(world.SETTINGS), world.backbone())


def test_an_empty_distractor_slot_is_padding_and_a_missing_identity_an_error(tmp_path):
    layout = world.write_world(tmp_path / "slot", skip=[("one", 103, 2)])
    _, mix, empty, *_ = open_mix(layout, TrainHead.parse(world.SETTINGS), world.backbone())
    assert empty == {"one": 1, "two": 0}
    valid = np.concatenate([mix.epoch(epoch)[:].valid[mix.epoch(epoch).ids == 103] for epoch in range(40)])
    assert valid[:, :3].all() and 0 < (~valid[:, 3:]).sum() < len(valid)
    layout = world.write_world(tmp_path / "identity", skip=[("one", 103, slot) for slot in range(3)])
    with pytest.raises(UserError, match=r"(?s)one.*id 103, slot 0"):
        open_mix(layout, TrainHead.parse(world.SETTINGS), world.backbone())


def test_one_data_set_alone(layout):
    settings = copy.deepcopy(world.SETTINGS)
    settings["mix"] |= {"nearid_repeats": 0, "mtg_repeats": 3}
    pool, mix, *_ = open_mix(layout, TrainHead.parse(settings), world.backbone())
    assert list(pool.stores) == ["mtg_train"] and len(mix) == 24
    assert (mix.epoch(0).valid.sum(1) == 4).all()


def test_an_image_without_a_mask_stays_as_it_is(tmp_path):
    settings = copy.deepcopy(world.SETTINGS)
    settings["training"]["mask_probability"] = dict.fromkeys(MASKING, 1.0)
    pool, mix, *_ = open_mix(
        world.write_world(tmp_path, skip=[("mtg_train", 3, 2, "fg")]), TrainHead.parse(settings), world.backbone()
    )
    keys = [key for store in pool.stores.values() for key in store.keys.tolist()]
    tuples = mix.epoch(0)
    unmasked = {keys[image] for image in tuples.images[tuples.valid] if keys[image][2] == b"full"}
    assert unmasked == {(3, 2, b"full")}


def test_a_mix_of_nothing_is_refused(layout):
    settings = copy.deepcopy(world.SETTINGS)
    settings["mix"] |= {"sources": [], "mtg_repeats": 0}
    with pytest.raises(UserError, match="mixes"):
        open_mix(layout, TrainHead.parse(settings), world.backbone())
