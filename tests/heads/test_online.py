"""Tokens computed for every batch: the same training as from the cache, and the paper's augmentation."""

import json

import image_world
import numpy as np
import pytest
import torch
from image_world import PatchBackbone
from safetensors.torch import load_file
from token_world import settings

from nearid.config.settings.heads import TrainHead
from nearid.config.settings.tokens import BackboneSettings
from nearid.errors import UserError
from nearid.heads import training
from nearid.heads.feeds import load_batches
from nearid.heads.inputs import open_mix
from nearid.heads.tuples import PADDING
from nearid.io.tables import read_table, write_table
from nearid.tokens.augmentation import UNCHANGED, augment
from nearid.tokens.backbones import load_backbone
from nearid.tokens.collections import open_collection

pytestmark = pytest.mark.numerics

AUGMENTATION = {"flip": 0.5, "jitter": 0.3, "affine": 0.3}


@pytest.fixture
def layout(tmp_path):
    return image_world.write_images(tmp_path)


@pytest.fixture
def train(trained, monkeypatch):
    """Train on a backbone (by default a new `PatchBackbone`); returns the backbone and the head's weights."""

    def run(layout, chosen, backbone=None):
        backbone = backbone or PatchBackbone()
        monkeypatch.setattr(training, "load_backbone", lambda _: backbone)
        folder = trained(layout, chosen)
        return backbone, load_file(folder / "head.safetensors")

    return run


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_equals_training_from_the_cache(layout, train):
    image_world.extract_all(layout, PatchBackbone())
    _, cached = train(layout, settings(ablation="cached", validate_every_steps=3))
    _, online = train(layout, settings(ablation="online", tokens="online", validate_every_steps=3))
    assert equal(cached, online)
    logs = [
        [json.loads(line) for line in layout.head_file(name, "log.jsonl").read_text().splitlines()]
        for name in ("cached", "online")
    ]
    for one, other in zip(*logs, strict=True):
        for times in ("wait_s", "step_s", "tokens_per_s"):
            del one[times], other[times]
        assert one == other
    assert [line["step"] for line in logs[0] if "val_ssr" in line] == [3, 6, 8]


def test_it_equals_training_from_the_cache_on_the_shipped_backbone(layout, train):
    path = "src/nearid/demo/siglip"
    backbone = load_backbone(BackboneSettings(kind="siglip", path=path, revision="", precision="float32", batch_size=8))
    image_world.extract_all(layout, backbone)
    _, cached = train(layout, settings(ablation="cached", learning_rate=1e-3), backbone)
    _, online = train(layout, settings(ablation="online", learning_rate=1e-3, tokens="online"), backbone)
    for name, tensor in cached.items():
        # An image shares batches of the backbone with others and rounds differently; AdamW's first steps are sign-like.
        assert (online[name] - tensor).abs().mean() < 1e-4, name


def test_the_backbone_sees_masked_then_augmented_images_and_no_padding(layout):
    backbone = PatchBackbone()
    chosen = settings(tokens="online", augmentation=AUGMENTATION)
    pool, mix, *_ = open_mix(layout, TrainHead.parse(chosen), backbone)
    pictures = {
        (collection, picture.id, picture.slot): picture
        for collection in ("positives", "one", "two", "mtg_train")
        for picture in open_collection(layout, collection, "000", ["train", "val"])[0]
    }
    changed = 0
    for epoch in range(3):
        tuples = mix.epoch(epoch)[:8]
        (batch,) = load_batches(pool, [tuples], 8)
        expected = {}
        for sample in range(8):
            for slot in range(6):
                if tuples.images[sample, slot] == PADDING:
                    continue
                collection, id, view, variant = pool.name(tuples.images[sample, slot]).split("/")
                pixels = pictures[collection, int(id), int(view)].pixels(variant)
                moved = augment(pixels, tuples.augmentation[sample, slot])
                changed += not np.array_equal(tuples.augmentation[sample, slot], UNCHANGED)
                expected[moved.tobytes()] = None
                tokens = backbone.encode(torch.tensor(moved)[None].float() / 255)[0].half()
                assert torch.equal(batch.tokens[batch.slots[sample, slot]], tokens)
        seen = [image.tobytes() for image in backbone.seen]
        assert sorted(seen) == sorted(expected), "each image once, padding never"
        backbone.seen.clear()
    assert changed > 40


def test_draws_differ_between_slots_and_epochs_and_repeat(layout):
    chosen = settings(tokens="online", augmentation=AUGMENTATION)
    _, mix, *_ = open_mix(layout, TrainHead.parse(chosen), PatchBackbone())
    first, again, second = (mix.epoch(epoch) for epoch in (0, 0, 1))
    assert np.array_equal(first.augmentation, again.augmentation)
    flips = first.augmentation[..., 0]
    assert any(not np.array_equal(flips[:, 0], flips[:, slot]) for slot in range(1, 6))
    by_id = [tuples.augmentation[np.argsort(tuples.ids, kind="stable")] for tuples in (first, second)]
    assert not np.array_equal(*by_id)


def test_a_pack_passes_each_image_through_the_backbone_once(layout, train):
    chosen = {"tokens": "online", "augmentation": AUGMENTATION}
    alone, weights = train(layout, settings(ablation="alone", **chosen))
    pack = [settings(ablation=name, params={"alpha": alpha}, **chosen) for name, alpha in (("a", 0.5), ("b", 0.0))]
    together, packed = train(layout, pack)
    assert len(together.seen) == len(alone.seen)
    assert equal(packed, weights)


def test_stopped_and_gone_on_equals_undisturbed(layout, train, monkeypatch):
    chosen = {"tokens": "online", "augmentation": AUGMENTATION, "checkpoint_every_steps": 2}
    _, undisturbed = train(layout, settings(ablation="undisturbed", **chosen))
    step = training._Pack._step
    with monkeypatch.context() as patch:

        def stop(self, members, number, batch):
            if number == 6:
                raise KeyboardInterrupt
            return step(self, members, number, batch)

        patch.setattr(training._Pack, "_step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(layout, settings(ablation="stopped", **chosen))
    _, resumed = train(layout, settings(ablation="stopped", **chosen))
    provenance = json.loads(layout.head_file("stopped", "provenance.json").read_text())
    assert provenance["resumed_after_step"] == 4
    assert equal(resumed, undisturbed)


def test_a_changed_image_is_another_input(layout, train):
    chosen = settings(tokens="online")
    train(layout, chosen)
    before = json.loads(layout.head_file("tiny", "provenance.json").read_text())["inputs_hash"]
    image_world.write_images(layout.root, sources=("twoo", "two"))
    layout.distractors("twoo", "000").rename(layout.distractors("one", "000"))
    train(layout, chosen)
    assert json.loads(layout.head_file("tiny", "provenance.json").read_text())["inputs_hash"] != before


def test_a_damaged_image_is_named(layout, train):
    table = layout.positives("000")
    rows = read_table(table)
    columns = {name: rows.column(name).to_pylist() for name in rows.column_names}
    columns = {
        name: [value["bytes"] if isinstance(value, dict) else value for value in values]
        for name, values in columns.items()
    }
    columns["images2"][0] = columns["images2"][0][:60]
    write_table(table, columns, image_world.schema_of(columns))
    with pytest.raises(UserError, match=r"(?s)id 50, slot 1"):
        train(layout, settings(tokens="online"))
