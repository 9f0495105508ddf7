"""Training a head: it learns, it is reproducible, it survives kills, and it equals a plain loop."""

import copy
import json
import signal

import numpy as np
import pytest
import token_world as world
import torch
from safetensors.torch import load_file
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.config.settings.heads import TrainHead
from nearid.errors import UserError
from nearid.heads import packs, training
from nearid.heads.inputs import open_mix
from nearid.heads.objectives import create
from nearid.sweeps.status import count_steps

pytestmark = pytest.mark.numerics

settings = world.settings


def read_log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@torch.no_grad()
def share_of_wins(head, layout):
    """Share of held-out views that are nearer to another view than to the distractor on their background."""
    pool, *_ = open_mix(layout, TrainHead.parse(settings()), world.backbone())
    wins = []
    for id in range(130, 140):

        def embed(collection, slot, id=id):
            store = pool.stores[collection]
            tokens = torch.from_numpy(store.read([store.find(id, slot, "full")])).float()
            return torch.nn.functional.normalize(head(tokens), dim=-1)[0]

        one, other, sibling = embed("positives", 0), embed("positives", 1), embed("one", 0)
        wins.append((one @ other > one @ sibling).item())
    return np.mean(wins)


def test_it_learns_what_the_frozen_head_does_not_know(tmp_path, trained):
    layout = world.write_world(tmp_path)
    folder = trained(layout, settings(epochs=30))
    log = read_log(folder)
    assert np.mean([line["loss"] for line in log[-10:]]) < 0.6 * np.mean([line["loss"] for line in log[:5]])
    head = SiglipMultiheadAttentionPoolingHead(world.VISION)
    head.load_state_dict(world.backbone().head_state())
    before = share_of_wins(head, layout)
    head.load_state_dict(load_file(folder / "head.safetensors"))
    assert before <= 0.3 and share_of_wins(head, layout) >= 0.8


@pytest.mark.parametrize("objective", ["nearid", "infonce"])
def test_it_equals_a_plain_loop(tmp_path, trained, objective):
    layout = world.write_world(tmp_path)
    chosen = settings(objective=objective, params={}, keep_every_steps=7)
    folder = trained(layout, chosen)
    options = chosen["training"]

    head = SiglipMultiheadAttentionPoolingHead(world.VISION)
    head.load_state_dict(world.backbone().head_state())
    kept = {0: copy.deepcopy(head.state_dict())}
    optimizer = torch.optim.AdamW(head.parameters(), lr=options["learning_rate"], weight_decay=options["weight_decay"])
    loss_of = create(objective)
    pool, mix, *_ = open_mix(layout, TrainHead.parse(chosen), world.backbone())
    step, losses = 0, []
    for epoch in range(4):
        tuples = mix.epoch(epoch)
        for number in range(5):
            warm = step / 3
            rate = warm if step < 3 else 0.5 * (1 + np.cos(np.pi * (step - 3) / 17))
            optimizer.param_groups[0]["lr"] = options["learning_rate"] * rate
            batch = tuples[number * 8 : number * 8 + 8]
            vectors = torch.full((8, 6, world.DIM), 123.0)
            for row in range(8):
                for slot in range(6):
                    if batch.valid[row, slot]:
                        position = batch.images[row, slot : slot + 1]
                        buffer = np.empty((1, world.TOKENS, world.DIM), np.float16)
                        vectors[row, slot] = head(torch.from_numpy(pool.read(position, buffer)).float())[0]
            valid = torch.from_numpy(batch.valid)
            loss = loss_of(
                vectors[:, 0], vectors[:, 1:3], vectors[:, 3:], valid[:, 1:3], valid[:, 3:],
                picks=torch.from_numpy(batch.picks),
            )  # fmt: skip
            optimizer.zero_grad()
            loss.backward()
            # The key bias has only rounding noise as gradient, which AdamW would amplify (docs/performance.md 1).
            head.attention.in_proj_bias.grad[world.DIM : 2 * world.DIM] = 0
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
            step += 1
            if step % 7 == 0 or step == 20:
                kept[step] = copy.deepcopy(head.state_dict())
    log = read_log(folder)
    assert [line["step"] for line in log] == list(range(1, 21))
    assert [line["loss"] for line in log] == pytest.approx(losses, rel=1e-4, abs=1e-5)
    lapse = load_file(folder / "timelapse.safetensors")
    assert {name.split(".")[0] for name in lapse} == {f"step_{step:06d}" for step in kept}
    final = load_file(folder / "head.safetensors")
    for step, state in kept.items():
        for name, tensor in state.items():
            torch.testing.assert_close(lapse[f"step_{step:06d}.{name}"], tensor, rtol=1e-3, atol=2e-5)
    assert all(torch.equal(tensor, lapse[f"step_000020.{name}"]) for name, tensor in final.items())


def results_of(folder):
    content = {name: (folder / name).read_bytes() for name in ("head.safetensors", "timelapse.safetensors")}
    log = [{name: v for name, v in line.items() if not name.endswith("_s")} for line in read_log(folder)]
    return content | {"config": (folder / "config.json").read_bytes(), "log": log}


def test_killed_and_resumed_equals_undisturbed(tmp_path, trained, train_apart):
    chosen = settings(keep_every_steps=3)
    undisturbed = results_of(trained(world.write_world(tmp_path / "a"), chosen))
    layout = world.write_world(tmp_path / "b")
    # 1: before any checkpoint; 7: between two; then twice more in the resumed runs; 8 + 4 + 4 leaves the last steps.
    for kill_at, resumed_from in ((1, 0), (7, 4), (6, 8), (9, 16)):
        assert train_apart(layout, chosen, kill_at) == [-signal.SIGKILL]
        folder = layout.head("tiny")
        assert not (folder / "head.safetensors").exists()
        states = [path.name for path in folder.glob(".progress/*/*.pt")]
        assert states == ([f"{resumed_from:07d}.pt"] if resumed_from else [])
    assert train_apart(layout, chosen) == [0]
    assert results_of(folder) == undisturbed
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["resumed_after_step"] == 16
    assert provenance["steps"] == count_steps(TrainHead.parse(chosen), layout)
    steps = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    waited, worked = (sum(step[name] for step in steps) for name in ("wait_s", "step_s"))
    assert provenance["waited_for_data"] == pytest.approx(waited / (waited + worked), abs=1e-4)
    assert not (folder / ".progress").exists()


def test_progress_of_other_settings_is_discarded_and_said(tmp_path, trained, train_apart, caplog):
    fresh = trained(world.write_world(tmp_path / "a"), settings(seed=4))
    layout = world.write_world(tmp_path / "b")
    assert train_apart(layout, settings(), kill_at=7) == [-signal.SIGKILL]
    other = trained(layout, settings(seed=4))
    assert "discarded" in caplog.text
    assert (other / "head.safetensors").read_bytes() == (fresh / "head.safetensors").read_bytes()


@pytest.mark.parametrize("objective", ["nearid", "infonce"])
def test_two_ranks_equal_one(tmp_path, trained, train_apart, objective):
    chosen = settings(objective=objective, params={})
    one = trained(world.write_world(tmp_path / "one"), chosen)
    two = world.write_world(tmp_path / "two")
    assert train_apart(two, chosen, ranks=2) == [0, 0]
    pairs = zip(read_log(one), read_log(two.head("tiny")), strict=True)
    for ours, theirs in pairs:
        for name in ("loss", "gradient_norm"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-4), (ours["step"], name)
    single, double = (load_file(folder / "head.safetensors") for folder in (one, two.head("tiny")))
    for name, tensor in single.items():
        torch.testing.assert_close(double[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_loss_that_is_not_finite_stops_with_step_and_ids(tmp_path, trained, monkeypatch):
    layout = world.write_world(tmp_path)
    evaluate, calls = packs.evaluate, []

    def explode(*arguments):
        calls.append(None)
        (parts,) = evaluate(*arguments)
        return [parts._replace(loss=parts.loss * (float("nan") if len(calls) == 6 else 1.0))]

    monkeypatch.setattr(packs, "evaluate", explode)
    with pytest.raises(UserError, match=r"(?s)step 6 of 20 \(epoch 1, batch 0\), ids \[.*loss nan"):
        trained(layout, settings())
    assert not (layout.head("tiny") / "head.safetensors").exists()


def test_a_head_of_another_backbone_is_refused(tmp_path, trained, monkeypatch):
    layout = world.write_world(tmp_path)
    other = world.backbone()
    other.weights_hash = "another"
    monkeypatch.setattr(training, "load_backbone", lambda _: other)
    with pytest.raises(UserError, match="tokens of weights_hash w"):
        trained(layout, settings())


def test_a_second_training_of_the_same_head_is_refused(tmp_path, trained):
    layout = world.write_world(tmp_path)
    from nearid.io.locks import lock

    with lock(layout.head("tiny"), "trains this head"), pytest.raises(UserError, match="another process"):
        trained(layout, settings())
