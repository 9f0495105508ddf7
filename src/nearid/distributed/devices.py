"""The device that models run on: a job that was given a GPU uses it or fails at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nearid.errors import UserError

if TYPE_CHECKING:
    import torch

DEVICE = "NEARID_DEVICE"
"""Environment variable: with `cpu` models run on the CPU even if the job was given a GPU."""
# What SLURM sets for jobs with GPUs and their steps; the last one is not SLURM's own.
_GIVEN = ("SLURM_GPUS", "SLURM_GPUS_ON_NODE", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "CUDA_VISIBLE_DEVICES")
# Values by which sites and SLURM say that there is no GPU.
_NONE = ("", "0", "-1", "NoDevFiles")


def choose_device(local_rank: int = 0) -> torch.device:
    """The GPU of rank `local_rank` on this machine if PyTorch finds one, else the CPU.

    A rank that sees a single GPU takes it, whatever its number: sites bind each task to a device of its own.

    Raises:
        UserError: the job was given a GPU that PyTorch cannot use, so that it would run on one core until its time
            limit; or `NEARID_DEVICE` is neither `cpu` nor empty.
    """
    import torch

    wanted = os.environ.get(DEVICE, "")
    if wanted not in ("", "cpu"):
        raise UserError(f"environment variable {DEVICE}", repr(wanted), "cpu, or nothing", f"unset {DEVICE}")
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", local_rank % torch.cuda.device_count())
    if given := given_gpus(os.environ):
        raise UserError(
            f"GPU of this job ({given})",
            f"PyTorch {torch.__version__} cannot use it: {_reason(torch)}",
            "a driver for the CUDA release that PyTorch was built with",
            f"run `nearid doctor` on such a node; install a PyTorch for its driver (README, GPUs), or set {DEVICE}=cpu",
        )
    return torch.device("cpu")


def given_gpus(environment: Mapping[str, str]) -> str:
    """The variable, with its value, that says the job was given a GPU; empty if none does.

    `CUDA_VISIBLE_DEVICES=0` names the first GPU, while 0 as a number of GPUs means none.
    """
    for name in _GIVEN:
        value = environment.get(name, "").strip()
        numbers = name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
        if value not in _NONE or (numbers and value == "0"):
            return f"{name}={value}"
    return ""


def explain_full_gpu(error: Exception) -> UserError | None:
    """An error that says what to make smaller if `error` is that a GPU's memory is full; None for any other."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, torch.OutOfMemoryError):
        return None
    return UserError(
        "memory of the GPU",
        str(error).splitlines()[0],
        "room for the model and a batch (`nearid plan` says what each source and scorer needs)",
        "make batch_size of this source, backbone or scorer smaller, give a painter or judge `offload: model` or "
        "`group`, or ask for a larger GPU (docs/slurm.md)",
    )


def _reason(torch_module: Any) -> str:
    if torch_module.version.cuda is None:
        return "it is a build without CUDA"
    try:
        torch_module.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return f"no device is visible to CUDA {torch_module.version.cuda}"
