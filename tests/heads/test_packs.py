"""Heads trained together: each as if alone, whatever happens to the others."""

import json
import os
import signal

import numpy as np
import pytest
import token_world as world
import torch
from safetensors.torch import load_file

from nearid.config.settings.heads import TrainHead
from nearid.errors import UserError
from nearid.heads import finished, packs

pytestmark = pytest.mark.numerics

ONE = world.settings(ablation="one", params={"alpha": 0.5}, keep_every_steps=7)
TWO = world.settings(ablation="two", objective="infonce", params={}, learning_rate=0.02, clip_norm=0.5)
TWO["training"]["checkpoint_every_steps"] = 5


def results_of(layout, name):
    """All that must not depend on the other heads: weights, and the log without times."""
    folder = layout.head(name)
    files = [path for path in (folder / "head.safetensors", folder / "timelapse.safetensors") if path.exists()]
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [path.read_bytes() for path in files], [
        {key: value for key, value in line.items() if not key.endswith("_s")} for line in log
    ]


@pytest.fixture
def alone(tmp_path, trained):
    layout = world.write_world(tmp_path / "alone")
    for settings in (ONE, TWO):
        trained(layout, settings)
    return {name: results_of(layout, name) for name in ("one", "two")}


def test_a_pack_gives_each_head_the_bytes_that_it_has_alone(tmp_path, trained, alone):
    layout = world.write_world(tmp_path / "pack")
    trained(layout, [ONE, TWO])
    assert not (layout.head("two") / "head.safetensors").exists(), "its own job writes it"
    # Its own job takes no further step.
    provenance = json.loads((trained(layout, [TWO, ONE]) / "provenance.json").read_text())
    assert (provenance["steps"], provenance["resumed_after_step"], provenance["trained_with"]) == (20, 0, ["one"])
    assert {name: results_of(layout, name) for name in ("one", "two")} == alone


def test_a_head_that_was_trained_along_waits_for_its_own_job(tmp_path, trained, alone):
    layout = world.write_world(tmp_path / "pack")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    one, two = (own | {"backbone": own["backbone"] | {"path": str(model)}} for own in (ONE, TWO))
    trained(layout, [two, one])
    assert finished.folder_of(layout, "one") == layout.waiting_head("one")
    # But not with other settings, other code or another model.
    assert not finished.take(layout, TrainHead.parse(one | {"seed": 9}), "")
    assert not finished.take(layout, TrainHead.parse(one), "other code")
    (model / "more.json").write_text("{}")
    assert not finished.take(layout, TrainHead.parse(one), "")
    (model / "more.json").unlink()
    assert finished.take(layout, TrainHead.parse(one), "")
    assert results_of(layout, "one") == alone["one"]
    assert {path.name for path in layout.head("one").iterdir()} == {*finished.FILES, "timelapse.safetensors", ".lock"}
    assert finished.folder_of(layout, "one") == layout.head("one")
    assert not finished.take(layout, TrainHead.parse(one), "")
    # It is what its own training would have left, so none is started.
    assert json.loads((layout.head("one") / "provenance.json").read_text())["trained_with"] == ["two"]
    before = (layout.head("one") / "provenance.json").stat().st_mtime_ns
    trained(layout, [two, one])
    assert (layout.head("one") / "provenance.json").stat().st_mtime_ns == before


def test_many_heads_agree_with_one(tmp_path, trained):
    objectives = {"nearid": {"beta": 0.2}, "siglip_rank": {}, "circle_rank": {}, "infonce_distractors": {}}
    members = [world.settings(ablation=name, objective=name, params=given) for name, given in objectives.items()]
    layout, single = (world.write_world(tmp_path / name) for name in ("pack", "single"))
    trained(layout, members)
    for settings in members:
        theirs = load_file(trained(single, settings) / "head.safetensors")
        ours = layout.head(settings["ablation"])
        ours = ours if settings is members[0] else trained(layout, settings)
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in load_file(ours / "head.safetensors").items())


def test_only_heads_that_are_not_up_to_date_train(tmp_path, trained):
    layout = world.write_world(tmp_path)
    for settings in ([ONE, TWO], [TWO, ONE]):
        trained(layout, settings)

    def files():
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in layout.head("one").rglob("*")}

    def trained_along():
        return json.loads((layout.head("two") / "provenance.json").read_text())["trained_with"]

    before, old = files(), load_file(layout.head("two") / "head.safetensors")
    changed = TWO | {"params": {"temperature": 0.1}}
    trained(layout, [changed, ONE])
    assert (trained_along(), files()) == ([], before)
    assert not torch.equal(load_file(layout.head("two") / "head.safetensors")["probe"], old["probe"])
    (layout.head("one") / "log.jsonl").unlink()
    trained(layout, [TWO, ONE])
    assert trained_along() == ["one"], "a lost file is made again"


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_diverging_head_stops_alone_and_is_reported(tmp_path, trained, alone, monkeypatch, caplog, what):
    layout = world.write_world(tmp_path / "pack")
    evaluate, differentiate, step = packs.evaluate, packs.differentiate, []

    def spoil_loss(members, *seen):
        step.append(None)
        parts = evaluate(members, *seen)
        broken = len(step) >= 7 and what == "loss"
        return [
            part._replace(loss=part.loss * float("inf")) if broken and member.name == "one" else part
            for member, part in zip(members, parts, strict=True)
        ]

    def spoil_gradient(members, losses):
        gradients = differentiate(members, losses)
        if len(step) >= 7 and what == "gradient":
            for member, own in zip(members, gradients, strict=True):
                if member.name == "one":
                    own[0].fill_(float("nan"))
        return gradients

    with monkeypatch.context() as patch:
        patch.setattr(packs, "evaluate", spoil_loss)
        patch.setattr(packs, "differentiate", spoil_gradient)
        trained(layout, [TWO, ONE])
        assert results_of(layout, "two") == alone["two"]
        assert "one stops, the others go on" in caplog.text
        # The last good state is kept, so its own job reports the problem at once.
        with pytest.raises(UserError, match=rf"step 7 of 20 .*ids(?s:.*){what} not finite"):
            trained(layout, ONE)
    assert [path.name for path in layout.head("one").glob(".progress/*/*.pt")] == ["0000006.pt"]
    report = json.loads((layout.head("one") / "stopped.json").read_text())
    assert (report["step"], report["epoch"], report["batch"], report["not_finite"]) == (7, 1, 1, what)
    assert len(report["samples"]) == 8
    collections = {image.split("/")[0] for sample in report["samples"] for image in sample["images"] if image}
    assert collections <= {"positives", "one", "two", "mtg_train"}
    # Once repaired, it resumes from there and ends with the same result.
    trained(layout, ONE)
    assert results_of(layout, "one") == alone["one"]
    assert not (layout.head("one") / "stopped.json").exists()


def test_members_must_draw_the_same_batches(tmp_path, trained):
    with pytest.raises(UserError, match="other batches"):
        trained(world.write_world(tmp_path), [ONE, TWO | {"seed": 9}])


def test_killed_while_its_members_are_at_different_steps_a_pack_gives_the_bytes_of_an_undisturbed_one(
    tmp_path, trained, train_apart
):
    three = world.settings(ablation="three", objective="circle_rank", params={}, checkpoint_every_steps=3)
    members = [ONE, TWO, three]
    undisturbed, layout = (world.write_world(tmp_path / name) for name in ("undisturbed", "killed"))
    assert train_apart(layout, members, kill_at=12) == [-signal.SIGKILL]
    names = [settings["ablation"] for settings in members]
    saved = [[path.name for path in layout.head(name).glob(".progress/*/*.pt")] for name in names]
    assert saved == [["0000008.pt"], ["0000010.pt"], ["0000009.pt"]]
    for place in range(3):  # each head's own job, with the others along
        for folder in (undisturbed, layout):
            trained(folder, members[place:] + members[:place])
    for name in names:
        assert results_of(layout, name) == results_of(undisturbed, name)


def train_and_die_saving(root, settings, number):
    """Train; die by SIGKILL when half of the `number`-th state is written, while training continues."""
    save, calls = torch.save, []

    def save_half(state, path):
        calls.append(None)
        save(state, path)
        if len(calls) == number:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save_half
    world.train(root, settings)


@pytest.mark.parametrize("number", [1, 4])
def test_killed_while_a_state_is_being_written_a_pack_goes_on_from_the_one_before(
    tmp_path, trained, start_apart, alone, number
):
    layout = world.write_world(tmp_path / "killed")
    assert start_apart(train_and_die_saving, [(layout.root, [ONE, TWO], number)]) == [-signal.SIGKILL]
    for members in ([ONE, TWO], [TWO, ONE]):
        trained(layout, members)
    assert {name: results_of(layout, name) for name in ("one", "two")} == alone


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_change_nothing(tmp_path, trained, train_apart):
    members = [copy | {"training": copy["training"] | {"epochs": 20}} for copy in (ONE, TWO)]
    undisturbed, layout = (world.write_world(tmp_path / name) for name in ("undisturbed", "killed"))
    for settings in members:
        trained(undisturbed, settings)
    random = np.random.default_rng(0)
    for _ in range(20):
        # One head saves every 4 steps and the other every 5, so that they often resume from different steps.
        assert train_apart(layout, members, kill_at=int(random.integers(1, 9))) != [0]
    for settings in (members, members[1]):
        trained(layout, settings)
    for settings in members:
        assert results_of(layout, settings["ablation"]) == results_of(undisturbed, settings["ablation"])
