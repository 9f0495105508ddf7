"""A GPU that a job was given is used, or the job fails at once and says what to do."""

import ast
import re
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner

from nearid.distributed import devices
from nearid.distributed.devices import DEVICE, choose_device, given_gpus
from nearid.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
GIVEN = {"SLURM_GPUS": "1", "SLURM_GPUS_ON_NODE": "2", "SLURM_JOB_GPUS": "0", "CUDA_VISIBLE_DEVICES": "0,1"}


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    for name in (DEVICE, *devices._GIVEN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def see(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_without_a_gpu_the_cpu_is_used():
    assert choose_device() == torch.device("cpu")


@pytest.mark.parametrize("name", GIVEN)
def test_a_job_with_a_gpu_that_torch_cannot_use_ends_at_once(name, monkeypatch):
    monkeypatch.setenv(name, GIVEN[name])
    with pytest.raises(UserError) as told:
        choose_device()
    assert f"{name}={GIVEN[name]}" in told.value.where
    assert torch.__version__ in told.value.found and "doctor" in told.value.action


@pytest.mark.parametrize(
    "name, value", [("SLURM_GPUS", "0"), ("CUDA_VISIBLE_DEVICES", ""), ("CUDA_VISIBLE_DEVICES", "-1")]
)
def test_no_gpu_is_not_taken_for_one(name, value):
    assert given_gpus({name: value}) == ""


def test_the_cpu_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("SLURM_GPUS", "1")
    monkeypatch.setenv(DEVICE, "cpu")
    assert choose_device() == torch.device("cpu")
    monkeypatch.setenv(DEVICE, "gpu")
    with pytest.raises(UserError, match=DEVICE):
        choose_device()


@pytest.mark.parametrize("local_rank, count, index", [(0, 1, 0), (1, 4, 1), (3, 4, 3), (1, 1, 0)])
def test_a_rank_takes_its_gpu_or_the_one_that_it_sees(local_rank, count, index, monkeypatch):
    see(monkeypatch, count)
    assert choose_device(local_rank) == torch.device("cuda", index)


def test_a_full_gpu_is_told_with_what_to_make_smaller(monkeypatch):
    from nearid.cli import nearid as command
    from nearid.planning import plan

    def overflow(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")

    monkeypatch.setattr(plan, "make_plan", overflow)
    monkeypatch.setattr("nearid.cli.plan.make_plan", overflow, raising=False)
    result = CliRunner().invoke(command, ["plan", "config/demo.yaml"])
    assert result.exit_code == 2
    assert "2.00 GiB" in result.output and "batch_size" in result.output and "Traceback" not in result.output


def test_a_state_from_a_gpu_is_taken_up_without_one(tmp_path, monkeypatch):
    from nearid.heads.checkpoints import Checkpoints

    places = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: places.append(k.get("map_location")) or load(*a, **k))
    Checkpoints(tmp_path, "k" * 64).restore()
    first = Checkpoints(tmp_path, "k" * 64)
    first.restore()
    first.save(3, {"head": {"weight": torch.ones(2)}})
    assert torch.equal(Checkpoints(tmp_path, "k" * 64).restore()["head"]["weight"], torch.ones(2))
    assert places == ["cpu"]


def calls():
    for path in sorted((ROOT / "src/nearid").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path.relative_to(ROOT / "src/nearid").as_posix(), ast.unparse(node.func), node


def test_one_function_chooses_the_device():
    """Otherwise a model could silently run on the CPU in a job with a GPU."""
    for path, function, node in calls():
        if path == "distributed/devices.py":
            continue
        assert not function.endswith("cuda.is_available"), path
        if function.endswith((".device", ".to")) and node.args and isinstance(node.args[0], ast.Constant):
            assert not str(node.args[0].value).startswith("cuda"), path
    named = {path for path, function, _ in calls() if function == "choose_device"}
    models = ("tokens/pretrained.py", "scores/judging/local.py", "scores/scorers/vsm.py", "scores/embeddings.py")
    assert {"distractors/diffusion.py", "heads/engine.py", "distributed/ranks.py", *models} <= named


def test_every_state_is_taken_up_without_the_device_that_it_was_saved_on():
    loads = [node for _, function, node in calls() if function == "torch.load"]
    assert loads
    for node in loads:
        assert {word.arg: ast.unparse(word.value) for word in node.keywords}.get("map_location") == "'cpu'"


def test_a_model_in_a_job_with_a_gpu_is_not_loaded_to_the_cpu(monkeypatch):
    """As in a real job: a node whose driver is too old for this PyTorch."""
    from nearid.config import load, step_settings
    from nearid.config.settings.tokens import BackboneSettings
    from nearid.tokens import load_backbone

    monkeypatch.chdir(ROOT)
    ids = {"backbone": "demo_siglip", "collection": "positives", "shard": "000"}
    backbone = BackboneSettings.parse(step_settings("extract_tokens", load("config/demo.yaml"), **ids)["backbone"])
    load_backbone(backbone)
    monkeypatch.setenv("SLURM_GPUS", "1")
    with pytest.raises(UserError, match="SLURM_GPUS=1") as told:
        load_backbone(backbone)
    assert "nearid doctor" in told.value.action


def test_the_pages_say_which_cuda_the_lock_brings():
    (version,) = re.findall(r"^torch==(\S+)", (ROOT / "envs/all.lock").read_text(), re.M)
    readme = (ROOT / "README.md").read_text()
    assert f"PyTorch {version} in the lock file is built for CUDA" in readme and "PIP_EXTRA_INDEX_URL=" in readme
    # accelerate puts judges directly on a GPU, in the environment of their rules.
    assert any(str(line).startswith("accelerate==") for line in _pins(ROOT / "envs/eval.yaml"))


def _pins(path):
    return next(part["pip"] for part in yaml.safe_load(path.read_text())["dependencies"] if isinstance(part, dict))


def test_the_profile_s_example_chooses_cards_and_shares_them_evenly():
    """SLURM may split `gpu: 4` into 3 and 1 on two nodes, and allocate any card of a mixed partition."""
    text = (ROOT / "slurm/partitions.example.yaml").read_text()
    assert yaml.safe_load(text)["partitions"]["gpu"]["available_gpu_models"]
    lines = [line.removeprefix("#").rstrip() for line in text.splitlines() if line.startswith("#   ")]
    asked = yaml.safe_load("\n".join(line for line in lines if not line.strip().startswith("#")))["set-resources"]
    from nearid.workflow.steps import RULES

    assert asked.keys() <= RULES.keys() and asked["inpaint_part"]["gpu_model"]
    assert "--gpus-per-node=2" in asked["train_head"]["slurm_extra"]
