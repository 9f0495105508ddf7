"""Validation while training: the same rates as the scores', on validation identities only."""

import json

import numpy as np
import pytest
import token_world as world
import torch
from safetensors.torch import load_file
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.config.settings.heads import TrainHead
from nearid.heads import validation
from nearid.heads.inputs import open_mix
from nearid.heads.validation import margins, summarise
from nearid.margins import directed_margins
from nearid.scores.margins import rate

pytestmark = pytest.mark.numerics


def columns_of(vectors, valid):
    """The columns of the scores' table for embeddings [n, 6, dim]."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit[~valid] = np.nan
    cosines = unit @ unit.transpose(0, 2, 1)
    pairs = {f"sim_{i}{j}": cosines[:, i, j] for i, j in ((0, 1), (0, 2), (1, 2))}
    return pairs | {f"cross_{i}{i}": cosines[:, i, 3 + i] for i in range(3)}


def test_rates_are_those_of_the_scores():
    random = np.random.default_rng(0)
    vectors, valid = random.normal(size=(200, 6, 3)), random.random((200, 6)) < 0.8
    expected = rate(directed_margins(columns_of(vectors.copy(), valid)))
    found = summarise(margins(torch.from_numpy(vectors), torch.from_numpy(valid)))
    assert 0 < expected.ssr < 100
    assert found["val_ssr"] == pytest.approx(expected.ssr)


def test_the_log_tells_how_the_head_does_on_validation_identities(tmp_path, trained):
    layout = world.write_world(tmp_path)
    chosen = world.settings(validate_every_steps=6, epochs=3)
    folder = trained(layout, chosen)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    checked = {line["step"]: line["val_ssr"] for line in log if "val_ssr" in line}
    assert list(checked) == [6, 12, 15]

    head = SiglipMultiheadAttentionPoolingHead(world.VISION)
    head.load_state_dict(load_file(folder / "head.safetensors"))
    pool, *_ = open_mix(layout, TrainHead.parse(chosen), world.backbone())
    wins = []
    for id, count in zip(range(130, 135), (3, 2, 2, 3, 2), strict=True):
        for source in ("one", "two"):
            embedded = {}
            for collection in ("positives", source):
                for slot in range(count):
                    store = pool.stores[collection]
                    tokens = torch.from_numpy(store.read([store.find(id, slot, "full")])).float()
                    vector = head(tokens)[0].detach()
                    embedded[collection, slot] = vector / vector.norm()
            wins.append(
                all(
                    embedded["positives", i] @ embedded["positives", j] > embedded["positives", k] @ embedded[source, k]
                    for i in range(count)
                    for j in range(i + 1, count)
                    for k in (i, j)
                )
            )
    assert checked[15] == pytest.approx(100 * np.mean(wins))


def test_it_changes_no_weight_and_no_other_head(tmp_path, trained):
    layout = world.write_world(tmp_path)
    plain = load_file(trained(layout, world.settings(ablation="plain")) / "head.safetensors")
    pack = [
        world.settings(ablation="checked", validate_every_steps=2),
        world.settings(ablation="other", params={"alpha": 0.0}),
    ]
    checked = load_file(trained(layout, pack) / "head.safetensors")
    assert all(torch.equal(tensor, checked[name]) for name, tensor in plain.items())
    trained(layout, pack[1])
    assert "val_ssr" not in layout.head_file("other", "log.jsonl").read_text()


def test_a_mix_without_sources_has_nothing_to_check(tmp_path, trained):
    chosen = world.settings(validate_every_steps=2)
    chosen["mix"] |= {"nearid_repeats": 0, "mtg_repeats": 3}
    log = (trained(world.write_world(tmp_path), chosen) / "log.jsonl").read_text()
    assert "val_ssr" not in log


@pytest.mark.parametrize("room", [2**28, 0])
def test_tokens_of_validation_are_read_once_where_they_fit(tmp_path, trained, monkeypatch, room):
    monkeypatch.setitem(validation.KEPT_BYTES, "cpu", room)
    reads, load = [], validation.load_batches
    monkeypatch.setattr(validation, "load_batches", lambda *seen, **named: reads.append(1) or load(*seen, **named))
    chosen = world.settings(validate_every_steps=5)
    folder = trained(world.write_world(tmp_path), chosen)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert len([line for line in log if "val_ssr" in line]) == 4
    assert len(reads) == (1 if room else 4)
