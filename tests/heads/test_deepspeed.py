"""DeepSpeed's ZeRO stages, with any number of ranks, do what a plain PyTorch loop does (docs/performance.md 5)."""

import json
import signal

import pytest
import token_world as world
import torch
from safetensors.torch import load_file
from transformers import get_cosine_schedule_with_warmup

from nearid.config.settings.heads import TrainHead
from nearid.errors import UserError
from nearid.heads.feeds import load_batches
from nearid.heads.inputs import open_mix
from nearid.heads.map_head import MAPHead
from nearid.heads.objectives import create

pytestmark = pytest.mark.numerics


def plain_loop(layout, settings):
    """The weights and losses of torch's own optimizer and clipping, in one process and without DeepSpeed."""
    training = settings["training"]
    pool, mix, *_ = open_mix(layout, TrainHead.parse(settings), world.backbone())
    head = MAPHead(world.VISION)
    head.load_state_dict(world.backbone().head_state())
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=training["learning_rate"], weight_decay=training["weight_decay"], fused=True
    )
    per_epoch, size = mix.steps_per_epoch(training["batch_size"]), training["batch_size"]
    steps = per_epoch * training["epochs"]
    schedule = get_cosine_schedule_with_warmup(optimizer, training["warmup_steps"], steps)
    objective = create(settings["objective"], **settings["params"])
    tuples = (mix.epoch(step // per_epoch)[step % per_epoch * size :][:size] for step in range(steps))
    losses = []
    for batch in load_batches(pool, tuples, size):
        vectors = head(batch.tokens)[torch.from_numpy(batch.slots)]
        valid = torch.from_numpy(batch.tuples.valid)
        loss = objective(
            vectors[:, 0],
            vectors[:, 1:3],
            vectors[:, 3:],
            valid[:, 1:3],
            valid[:, 3:],
            picks=torch.from_numpy(batch.tuples.picks),
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), training["clip_norm"])
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return head.state_dict(), losses


def check(layout, settings, expected, tolerance):
    weights, losses = expected
    folder = layout.head(settings["ablation"])
    log = [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert log == pytest.approx(losses, rel=tolerance, abs=tolerance)
    for name, tensor in load_file(folder / "head.safetensors").items():
        torch.testing.assert_close(tensor, weights[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_stage_on_one_rank(tmp_path, trained, stage):
    layout, settings = world.write_world(tmp_path), world.settings(zero_stage=stage)
    trained(layout, settings)
    config = json.loads((layout.head("tiny") / "config.json").read_text())["deepspeed"]
    assert (config["zero_optimization"]["stage"], config["gradient_clipping"]) == (stage, 1.0)
    check(layout, settings, plain_loop(layout, settings), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_stage_on_several_ranks(tmp_path, train_apart, stage, ranks):
    layout, settings = world.write_world(tmp_path), world.settings(zero_stage=stage)
    assert train_apart(layout, settings, ranks=ranks) == [0] * ranks
    # Twenty AdamW steps, with another order of summation.
    check(layout, settings, plain_loop(layout, settings), 1e-3)


@pytest.mark.slow
def test_another_number_of_ranks_goes_on(tmp_path, train_apart):
    layout, settings = world.write_world(tmp_path), world.settings()
    assert train_apart(layout, settings, kill_at=7) == [-signal.SIGKILL]
    assert train_apart(layout, settings, ranks=2) == [0, 0]
    provenance = json.loads((layout.head("tiny") / "provenance.json").read_text())
    assert provenance["resumed_after_step"] == 4
    check(layout, settings, plain_loop(layout, settings), 1e-3)


@pytest.mark.slow
def test_a_sharded_state_goes_on_with_its_own_number_of_ranks_only(tmp_path, trained, train_apart):
    layout, settings = world.write_world(tmp_path), world.settings(zero_stage=1)
    assert train_apart(layout, settings, kill_at=7, ranks=2) != [0, 0]
    with pytest.raises(UserError, match="sharded over 2 ranks"):
        trained(layout, settings)
    assert train_apart(layout, settings, ranks=2) == [0, 0]
    check(layout, settings, plain_loop(layout, settings), 1e-3)
