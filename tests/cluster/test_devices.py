"""A GPU that a job was given is used, or the job ends at once with what to do."""

import pytest
import torch
from click.testing import CliRunner

from nearid.distributed import devices
from nearid.distributed.devices import DEVICE, choose_device, given_gpus
from nearid.errors import UserError

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
