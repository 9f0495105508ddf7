"""The bootstrap of ranks."""

import os

import pytest
import torch

from nearid.distributed.ranks import VARIABLES, Ranks, join, read_ranks
from nearid.errors import UserError


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in VARIABLES:
        # setenv first, so that monkeypatch also undoes what read_ranks sets.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_without_launcher_one_process_is_rank_0_of_1():
    assert read_ranks() == Ranks(0, 0, 1)
    assert all(os.environ[name] for name in VARIABLES)
    assert os.environ["MASTER_PORT"] != "29500"


def test_a_launcher_is_believed(monkeypatch):
    for name, value in zip(VARIABLES, ("3", "1", "4", "node", "1234"), strict=True):
        monkeypatch.setenv(name, value)
    assert read_ranks() == Ranks(3, 1, 4)


def test_a_step_of_srun_is_believed_and_an_allocation_is_not(monkeypatch):
    step = {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "2", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[3-4]"}
    for name, value in (step | {"SLURM_PROCID": "1", "SLURM_LOCALID": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    # The batch step of an allocation of two tasks is one process.
    assert read_ranks() == Ranks(0, 0, 1)
    ports = []
    for rank in ("0", "1"):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
        monkeypatch.setenv("SLURM_PROCID", rank)
        assert read_ranks() == Ranks(int(rank), 0, 2)
        assert os.environ["MASTER_ADDR"] == "node3"
        ports.append(os.environ["MASTER_PORT"])
    assert ports[0] == ports[1] != "29500"


def test_an_address_alone_is_a_sites_word_and_no_launcher(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    assert read_ranks() == Ranks(0, 0, 1)
    assert os.environ["MASTER_ADDR"] == "10.0.0.1"


def test_half_an_environment_is_an_error(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="without LOCAL_RANK, MASTER_ADDR, MASTER_PORT"):
        read_ranks()


@pytest.mark.parametrize("values", [("2", "0", "2"), ("x", "0", "2")])
def test_ranks_that_contradict_each_other_are_an_error(monkeypatch, values):
    for name, value in zip(VARIABLES, (*values, "node", "1"), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="launcher"):
        read_ranks()


def test_one_process_joins_once():
    assert join() == Ranks(0, 0, 1)
    assert torch.distributed.is_initialized()
    assert join() == Ranks(0, 0, 1)
