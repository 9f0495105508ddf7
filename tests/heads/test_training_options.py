"""Differences between paper and authors' code in training, as settings: each against a slow computation."""

import math
from dataclasses import replace
from types import SimpleNamespace

import image_world
import numpy as np
import pyarrow as pa
import pytest
import token_world as world
import torch
from test_tuples import MASKING, PADDING, samples
from transformers import SiglipVisionConfig

from nearid.config.settings.heads import TrainHead
from nearid.distributed.ranks import Ranks
from nearid.errors import UserError
from nearid.heads import packs, training
from nearid.heads.feeds import ImageStore, TokenBatch
from nearid.heads.inputs import open_mix
from nearid.heads.map_head import MAPHead
from nearid.heads.objectives import create
from nearid.heads.tuples import MixSampler, Tuples
from nearid.io.images import decode_rgb, decode_stored_mask, encode_png
from nearid.io.tables import IMAGE, image_bytes, read_table, write_table
from nearid.layout import Layout

SHAPES = {"anchor": (6, 5), "positives": (6, 2, 5), "distractors": (6, 3, 5)}


def batch_of(seed=0):
    """Raw embeddings of six samples; rows 0 and 3 are repeats of one, and half of the second positives are missing."""
    random = np.random.default_rng(seed)
    raw = [torch.tensor(random.normal(size=shape)) for shape in SHAPES.values()]
    masks = torch.ones(6, 2, dtype=torch.bool), torch.ones(6, 3, dtype=torch.bool)
    masks[0][::2, 1] = False
    masks[1][::2, 2] = False
    return raw, masks, torch.tensor([7, 1, 2, 7, 4, 5])


def cosine(first, second):
    return float(first @ second / first.norm() / second.norm())


def test_copies_of_a_sample_are_no_negatives_by_identity():
    (anchor, positives, distractors), (u, v), owners = batch_of()

    def ranking(others):
        values = []
        for i in range(6):
            logits = [cosine(anchor[i], positives[j, q]) / 0.07 for j in others(i) for q in range(2) if u[j, q]]
            others_sum = math.log(sum(map(math.exp, logits)))
            values += [
                math.log1p(math.exp(others_sum - cosine(anchor[i], distractors[i, k]) / 0.07))
                for k in range(3)
                if v[i, k]
            ]
        return np.mean(values)

    def contrast(others):
        values = []
        for one, two in ((anchor, positives[:, 0]), (positives[:, 0], anchor)):
            for i in range(6):
                own = cosine(anchor[i], positives[i, 0]) / 0.07
                values.append(math.log(sum(math.exp(cosine(one[i], two[j]) / 0.07) for j in [i, *others(i)])) - own)
        return np.mean(values)

    by_position = lambda i: [j for j in range(6) if j != i]  # noqa: E731
    by_identity = lambda i: [j for j in range(6) if owners[j] != owners[i]]  # noqa: E731
    for who, others in ((None, by_position), (owners, by_identity)):
        terms = create("nearid").parts(anchor, positives, distractors, u, v, owners=who).terms
        assert float(terms["ranking"]) == pytest.approx(ranking(others), rel=1e-9)
        found = create("infonce").parts(anchor, positives, distractors, u, v, owners=who).loss
        assert float(found) == pytest.approx(contrast(others), rel=1e-9)


def test_copies_have_one_owner_and_data_sets_never_share_one():
    one, other = samples(rows=6), samples(rows=6)
    owners = MixSampler([one, replace(other, name="mtg")], [2, 1], 0, MASKING).epoch(0).owners
    assert sorted(np.unique(owners, return_counts=True)[1]) == [1] * 6 + [2] * 6


def test_half_precision_has_the_logits_in_half():
    (anchor, positives, distractors), (u, v), _ = batch_of()
    raw = [part.float() for part in (anchor, positives, distractors)]

    def half(first, second):
        unit = [(vector / vector.norm()).half().numpy().astype(np.float64) for vector in (first, second)]
        return np.float64(np.float16(unit[0] @ unit[1])) / 0.07

    surprises = {0: [], 1: []}
    for i in range(6):
        pool = [half(raw[0][i], raw[1][j, q]) for j in range(6) for q in range(2) if u[j, q]]
        pool += [half(raw[0][i], raw[2][i, k]) for k in range(3) if v[i, k]]
        for q in range(2):
            if u[i, q]:
                surprises[q].append(math.log(sum(map(math.exp, pool))) - half(raw[0][i], raw[1][i, q]))
    expected = np.mean([np.mean(of_slot) for of_slot in surprises.values()])
    objective = create("nearid", alpha=0.0)
    whole = float(objective.parts(*raw, u, v).loss)
    found = float(objective.parts(*raw, u, v, precision=torch.float16).loss)
    assert found == pytest.approx(expected, abs=1e-2) and 1e-6 < abs(found - whole) < 2e-2


def test_anchor_only_leaves_the_distractor_on_the_anchor_s_background():
    usual, alone = (
        samples().draw(0, 0, MASKING, {}, backgrounds=backgrounds) for backgrounds in ("views", "anchor_only")
    )
    assert np.array_equal(usual.images[:, :4], alone.images[:, :4])
    assert (alone.images[:, 4:] == PADDING).all()


def test_anchor_sources_are_others_on_the_anchor_s_background():
    drawn = [samples(sources=4).draw(1, epoch, MASKING, {}, backgrounds="anchor_sources") for epoch in range(3)]
    for tuples in drawn:
        slot, source = tuples.images // 100 % 10, tuples.images // 10 % 10
        assert tuples.valid[:, 3:].all() and (slot[:, 3:] == slot[:, :1]).all()
        assert all(len(set(row)) == 3 for row in source[:, 3:]), "no source twice"
        assert np.allclose(tuples.severity * 1e6, tuples.images[:, 3:] // 10 * 10), "severities go with their images"
    counts = np.bincount(np.concatenate([(tuples.images[:, 3:] // 10 % 10).ravel() for tuples in drawn]))
    assert counts[1:] / counts.sum() == pytest.approx([0.25] * 4, abs=0.02)
    two = samples(sources=2).draw(1, 0, MASKING, {}, backgrounds="anchor_sources")
    assert two.valid[:, 3:].sum(1).tolist() == [2] * 2000, "no more than there are sources"


def test_the_last_batch_may_be_kept():
    part = samples(rows=20)
    for last, sizes in (("drop", [8, 8]), ("keep", [8, 8, 4])):
        mix = MixSampler([part], [1], 0, MASKING, last_batch=last)
        steps = mix.steps_per_epoch(8)
        found = list(training._tuples(mix, 8, Ranks(0, 0, 1), 0, 2 * steps))
        assert [len(tuples) for tuples in found] == sizes * 2
        seen = np.concatenate([tuples.ids for tuples in found[: len(sizes)]])
        assert len(set(seen)) == sum(sizes)
    whole = MixSampler([samples(rows=16)], [1], 0, MASKING, last_batch="keep")
    assert whole.steps_per_epoch(8) == 2
    # The paper's mix: 18,786 identities and four copies of 5,000.
    paper = MixSampler([SimpleNamespace(rows=range(18_786)), SimpleNamespace(rows=range(5_000))], [1, 4], 0, MASKING)
    assert 11 * paper.steps_per_epoch(128) == 3_333
    assert 11 * MixSampler(paper.samples, [1, 4], 0, MASKING, last_batch="keep").steps_per_epoch(128) == 3_344
    with pytest.raises(UserError, match="one rank"):
        training._check_ranks(TrainHead.parse(world.settings(last_batch="keep")).training, Ranks(0, 0, 2))


def test_kept_padding_is_an_image_of_zeros_in_the_pools():
    """Against a head that gets every slot's tokens, including padding, and an objective that knows what is padding."""
    torch.manual_seed(3)
    config = SiglipVisionConfig(hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1)
    head = MAPHead(config)
    tokens, padding = torch.randn(5, 4, 16), torch.randn(1, 4, 16)
    images = np.array([[0, 1, -1, 2, 3, -1], [4, 0, 1, 3, 2, 4]])
    tuples = Tuples.whole(images)
    batch = TokenBatch(tuples, tokens, np.maximum(images, 0))
    objective = create("nearid", padding="keep")
    engine = SimpleNamespace(device=torch.device("cpu"), parameters=list(head.parameters()))
    member = packs.PackedHead(TrainHead.parse(world.SETTINGS), objective, head, engine, None)
    (found,) = packs.evaluate([member], batch, padding)
    seen = torch.stack([torch.stack([padding[0] if at < 0 else tokens[at] for at in row]) for row in images])
    vectors = head(seen.flatten(0, 1)).unflatten(0, images.shape)
    valid = torch.from_numpy(images >= 0)
    expected = objective.parts(vectors[:, 0], vectors[:, 1:3], vectors[:, 3:], valid[:, 1:3], valid[:, 3:])
    assert found.loss.item() == pytest.approx(expected.loss.item(), rel=1e-5)
    ours, theirs = (torch.autograd.grad(part.loss, engine.parameters) for part in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    excluded = create("nearid").parts(vectors[:, 0], vectors[:, 1:3], vectors[:, 3:], valid[:, 1:3], valid[:, 3:])
    assert abs(excluded.loss.item() - found.loss.item()) > 0.01


def test_a_head_trains_with_kept_padding_and_every_other_option(tmp_path, trained):
    """Complete trainings: they end, and other settings give another head."""
    choices = {
        "default": {},
        "keep": {"params": {"padding": "keep"}},
        "identity": {"own_by": "identity"},
        "half": {"loss_precision": "bfloat16"},
        "last": {"last_batch": "keep"},
        "anchor": {"distractors": "anchor_only"},
        "sources": {"distractors": "anchor_sources"},
    }
    layout = world.write_world(tmp_path)
    often = world.SETTINGS["mix"] | {"mtg_repeats": 6}
    heads = {}
    for name, choice in choices.items():
        settings = world.settings(epochs=1, ablation=name, mix=often, **choice)
        heads[name] = (trained(layout, settings) / "head.safetensors").read_bytes()
    alike = [(one, two) for one in heads for two in heads if one < two and heads[one] == heads[two]]
    assert not alike


def test_options_that_are_not_given_are_the_defaults(tmp_path):
    layout = world.write_world(tmp_path)
    named = {"distractors": "views", "last_batch": "drop"}
    one, other = (
        open_mix(Layout(layout.root), TrainHead.parse(settings), world.backbone()).mix.epoch(0)
        for settings in (world.settings(), world.settings(**named))
    )
    assert np.array_equal(one.images, other.images)


def test_raw_masks_black_out_training_images(tmp_path):
    """The data set's grey masks, where above 0, for views and distractors; part edits have no other masks."""
    layout = image_world.write_images(tmp_path)
    path = next(layout.identities.parent.glob("positives/*.parquet"))
    table = read_table(path)
    random = np.random.default_rng(0)
    raw, columns = {}, {}
    for slot in (1, 2, 3):
        shapes = [mask and decode_stored_mask(mask["bytes"]).shape for mask in table[f"masks{slot}"].to_pylist()]
        raw[f"raw_masks{slot}"] = [shape and random.integers(0, 2, shape, np.uint8) for shape in shapes]
    for name in table.column_names:
        values = table[name].to_pylist()
        columns[name] = [image_bytes(value) if isinstance(value, dict) else value for value in values]
    for name, masks in raw.items():
        columns[name] = [None if mask is None else encode_png(mask) for mask in masks]
    schema = pa.schema([*table.schema, *(pa.field(name, IMAGE) for name in raw)])
    write_table(path, columns, schema)
    for collection, column in (("positives", "images"), ("one", "nimg")):
        store = ImageStore(layout, collection, [path.stem], raw_masks=True)
        images = read_table(path if collection == "positives" else layout.distractors("one", path.stem))
        ids = images["id"].to_pylist()
        for place, (id, slot, variant) in enumerate(store.keys):
            row = ids.index(id)
            pixels = decode_rgb(images[f"{column}{slot + 1}"][row].as_py()["bytes"])
            shown = pixels if variant == b"full" else pixels * (raw[f"raw_masks{slot + 1}"][row] > 0)[..., None]
            assert np.array_equal(store.pixels(place), shown), (collection, id, slot, variant)
