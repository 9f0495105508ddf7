"""Augmentation of cached tokens: mirroring exactly, jitter and affine by a number of recorded draws."""

import json

import image_world
import numpy as np
import pytest
import torch
from image_world import PatchBackbone
from safetensors.torch import load_file
from token_world import settings

from nearid.config.settings.heads import TrainHead
from nearid.config.variants import augmentation_id
from nearid.errors import UserError
from nearid.heads import training
from nearid.heads.feeds import load_batches
from nearid.heads.inputs import open_mix
from nearid.heads.tuples import PADDING
from nearid.tokens import TokenStore
from nearid.tokens.augmentation import UNCHANGED, augment, describe
from nearid.tokens.collections import open_collection

pytestmark = pytest.mark.numerics

FLIP = {"flip": 0.5, "jitter": 0.0, "affine": 0.0}
ALL = {"flip": 0.5, "jitter": 0.3, "affine": 0.3}
COLLECTIONS = ("positives", "one", "two", "mtg_train")


@pytest.fixture
def layout(tmp_path):
    return image_world.write_images(tmp_path)


@pytest.fixture
def weights(trained, monkeypatch):
    """Weights of a head trained on a `PatchBackbone`."""
    monkeypatch.setattr(training, "load_backbone", lambda _: PatchBackbone())

    def train(layout, chosen):
        return load_file(trained(layout, chosen) / "head.safetensors")

    return train


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def shown(layout, chosen, epochs=2):
    """What each slot of each sample shows: (collection, id, slot), pixels; tokens as the batches have them."""
    pool, mix, *_ = open_mix(layout, TrainHead.parse(chosen), PatchBackbone())
    for epoch in range(epochs):
        tuples = mix.epoch(epoch)
        for batch in load_batches(pool, [tuples[start : start + 8] for start in range(0, len(tuples), 8)], 8):
            for sample, slot in np.argwhere(batch.tuples.valid):
                name = pool.name(batch.tuples.images[sample, slot])
                yield epoch, (sample, slot), name, batch.tokens[batch.slots[sample, slot]].clone()


@pytest.mark.parametrize("masks", [True, False])
def test_mirrored_tokens_train_as_online_to_the_bit(layout, weights, masks):
    chosen = {"augmentation": FLIP, "validate_every_steps": 3}
    if not masks:
        chosen["mask_probability"] = dict.fromkeys(("anchor", "positive", "distractor"), 0.0)
    cached = settings(ablation="cached", **chosen)
    image_world.extract_for(layout, PatchBackbone(), cached)
    variants = {"full", "full_flip", "fg", "fg_flip"} if masks else {"full", "full_flip"}
    (shard,) = layout.root.glob("tokens/tiny/positives/*.h5")
    assert {key[2].decode() for key in TokenStore([shard]).keys.tolist()} == variants
    online = settings(ablation="online", tokens="online", **chosen)
    plain = settings(ablation="plain", **(chosen | {"augmentation": dict.fromkeys(FLIP, 0.0)}))
    assert equal(weights(layout, cached), weights(layout, online))
    assert not equal(weights(layout, plain), weights(layout, cached))
    logs = [layout.head_file(name, "log.jsonl").read_text().splitlines() for name in ("cached", "online")]
    assert [json.loads(line).get("val_ssr") for line in logs[0]] == [
        json.loads(line).get("val_ssr") for line in logs[1]
    ]


def test_draws_are_what_the_shard_says_and_training_chooses_among_all(layout):
    chosen = settings(augmentation=ALL, augmented_draws=3)
    backbone = PatchBackbone()
    image_world.extract_for(layout, backbone, chosen)
    pictures, recorded = {}, {}
    for collection in COLLECTIONS:
        store = TokenStore([layout.tokens("tiny", collection)])
        for (id, slot, variant), parameters in zip(store.keys.tolist(), store.parameters, strict=True):
            recorded[f"{collection}/{id}/{slot}/{variant.decode()}"] = parameters
        for picture in open_collection(layout, collection, "000", ["train", "val"])[0]:
            pictures[f"{collection}/{picture.id}/{picture.slot}"] = picture
    seen = set()
    for _, _, name, tokens in shown(layout, chosen):
        image, variant = name.rsplit("/", 1)
        masking, id, number = variant.split("_")
        assert id == augmentation_id(ALL)
        pixels = augment(pictures[image].pixels(masking), recorded[name])
        assert torch.equal(tokens, backbone.encode(torch.tensor(pixels)[None].float() / 255)[0].half())
        seen.add((masking, int(number)))
    assert seen == {(masking, number) for masking in ("full", "fg") for number in range(3)}
    drawn = np.stack([parameters for name, parameters in recorded.items() if "_" in name.rsplit("/", 1)[1]])
    counts = describe(drawn)
    assert counts["flipped"] / len(drawn) == pytest.approx(0.5, abs=0.1)
    assert counts["jittered"] / len(drawn) == pytest.approx(0.3, abs=0.1)
    assert counts["moved"] / len(drawn) == pytest.approx(0.3, abs=0.1)
    by_image = {
        name: parameters.tobytes() for name, parameters in recorded.items() if not (parameters == UNCHANGED).all()
    }
    # (many share the parameters of a flip alone)
    jittered = [value for name, value in by_image.items() if recorded[name][1] != 1]
    assert len(set(jittered)) == len(jittered), "images share no draw"
    val = [name for name in recorded if name.split("/")[1] in ("58", "59")]
    assert val and all(name.endswith("/full") for name in val)


def test_choices_depend_on_their_key_alone(layout, weights, monkeypatch):
    chosen = settings(augmentation=ALL, augmented_draws=2)
    image_world.extract_for(layout, PatchBackbone(), chosen)
    _, mix, *_ = open_mix(layout, TrainHead.parse(chosen), PatchBackbone())
    first, again, second = (mix.epoch(epoch).images for epoch in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, second)
    undisturbed = weights(layout, chosen | {"ablation": "undisturbed"})
    step = training._Pack._step
    with monkeypatch.context() as patch:

        def stop(self, members, number, batch):
            if number == 6:
                raise KeyboardInterrupt
            return step(self, members, number, batch)

        patch.setattr(training._Pack, "_step", stop)
        with pytest.raises(KeyboardInterrupt):
            weights(layout, chosen | {"ablation": "stopped"})
    assert equal(weights(layout, chosen | {"ablation": "stopped"}), undisturbed)


def test_what_others_want_and_how_shards_are_cut_changes_no_draw(layout, tmp_path):
    """Draws are keyed: with more draws the first ones stay the same, whatever other ablations need beside them."""
    alone = settings(augmentation=ALL, augmented_draws=2)
    strong = settings(augmentation=ALL | {"jitter": 0.9}, augmented_draws=1)
    others = [settings(), settings(augmentation=FLIP), strong, settings(augmentation=ALL, augmented_draws=3)]
    image_world.extract_for(layout, PatchBackbone(), alone)
    few = TokenStore([layout.tokens("tiny", "positives")])
    tokens = {tuple(key): few.read([place])[0] for place, key in enumerate(few.keys.tolist())}
    names = list(shown(layout, alone))
    together = image_world.write_images(tmp_path / "together")
    image_world.extract_for(together, PatchBackbone(), alone, *others)
    many = TokenStore([together.tokens("tiny", "positives")])
    for key, values in tokens.items():
        assert np.array_equal(many.read([many.find(key[0], key[1], key[2].decode())])[0], values)
    for one, other in zip(names, shown(together, alone), strict=True):
        assert one[:3] == other[:3] and torch.equal(one[3], other[3])
    variants = {key[2].decode() for key in many.keys.tolist()}
    assert {"full", "fg_flip", f"fg_{augmentation_id(strong['training']['augmentation'])}_0"} < variants
    assert f"full_{augmentation_id(ALL)}_2" in variants and f"full_{augmentation_id(ALL)}_3" not in variants
    assert augmentation_id(ALL) != augmentation_id(strong["training"]["augmentation"])


def test_without_draws_it_says_what_to_do(layout):
    with pytest.raises(UserError, match=r"(?s)augmented_draws.*tokens: online"):
        open_mix(layout, TrainHead.parse(settings(augmentation=ALL)), PatchBackbone())


def test_shards_without_the_draws_are_named(layout):
    image_world.extract_all(layout, PatchBackbone())
    with pytest.raises(UserError, match=r"full_flip|full_[0-9a-f]{8}_0"):
        open_mix(layout, TrainHead.parse(settings(augmentation=FLIP)), PatchBackbone())
    with pytest.raises(UserError, match=r"full_[0-9a-f]{8}_0"):
        open_mix(layout, TrainHead.parse(settings(augmentation=ALL, augmented_draws=1)), PatchBackbone())


def test_padding_stays_padding(layout):
    chosen = settings(augmentation=ALL, augmented_draws=2)
    image_world.extract_for(layout, PatchBackbone(), chosen)
    _, mix, *_ = open_mix(layout, TrainHead.parse(chosen), PatchBackbone())
    plain = image_world.write_images(layout.root / "plain")
    image_world.extract_all(plain, PatchBackbone())
    _, other, *_ = open_mix(plain, TrainHead.parse(settings()), PatchBackbone())
    one, two = (drawn.epoch(0) for drawn in (mix, other))
    assert (one.images == PADDING).any()
    assert np.array_equal(one.valid, two.valid) and np.array_equal(one.ids, two.ids)
