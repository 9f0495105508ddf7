"""Typed settings: each step's model accepts what the config makes for its jobs, and names what it does not accept."""

import copy
import pkgutil

import pytest

from nearid.config import load, step_settings
from nearid.config.settings.heads import TrainHead
from nearid.config.settings.scores import ScoreMTG
from nearid.errors import UserError
from nearid.layout import Layout
from nearid.workflow.graph import Graph
from nearid.workflow.steps import STEPS

COMMANDS = {step.name: pkgutil.resolve_name(f"nearid.{step.function}") for step in STEPS.values() if step.function}
KINDS = {name: getattr(getattr(command, "callback", None), "settings", None) for name, command in COMMANDS.items()}
CONFIGS = {"whole": (), "demo": ("config/demo.yaml",), "released": ("config/released.yaml",)}


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS)
def graph(request, tmp_path_factory):
    return Graph(load(*request.param), Layout(tmp_path_factory.mktemp("run")))


def test_the_settings_of_all_jobs_are_of_their_types(graph):
    parsed = set()
    for job in graph.jobs():
        if kind := KINDS.get(job.step.name):
            given = graph.settings(job.step.name, **job.ids)
            assert kind.parse(given).given == given
            parsed.add(job.step.name)
    assert {"curate_positives", "inpaint_shard", "extract_tokens", "train_head"} <= parsed


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("seed", None, "nothing"),
        ("training.epochs", None, "nothing"),
        ("training.epochs", "11", "'11'"),
        ("training.clip", 1.0, "1.0"),
        ("backbone.precision", "int8", "'int8'"),
        ("mix.sources", "flux", "'flux'"),
    ],
)
def test_a_setting_that_is_missing_unknown_or_of_another_type_is_named(path, value, found):
    settings = copy.deepcopy(step_settings("train_head", load("config/demo.yaml"), ablation="nearid"))
    *parents, key = path.split(".")
    part = settings
    for parent in parents:
        part = part[parent]
    if value is None:
        del part[key]
    else:
        part[key] = value
    with pytest.raises(UserError) as error:
        TrainHead.parse(settings)
    assert (error.value.where, error.value.found) == (f"--settings, {path}", found)


def test_a_mistake_in_an_entry_of_some_kind_is_named_by_its_keys():
    settings = {"scorer": {"kind": "encoder", "readout": 3}, "scorer_id": "mine", "conditions": ["full"]}
    with pytest.raises(UserError) as error:
        ScoreMTG.parse(settings)
    assert (error.value.where, error.value.found) == ("--settings, scorer.readout", "3")
    assert error.value.expected.endswith("(ScoreMTG, encoder)")


def test_parts_keep_what_they_were_given():
    settings = copy.deepcopy(step_settings("train_head", load("config/demo.yaml"), ablation="nearid"))
    settings["training"]["clip_norm"] = 1
    parsed = TrainHead.parse(settings)
    assert parsed.given == settings and parsed.training.given is settings["training"]
    assert repr(parsed.training.given["clip_norm"]) == "1" and parsed.training.clip_norm == 1
