"""How many GPUs this machine lets a process use, without asking a driver's library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_NVIDIA = Path("/proc/driver/nvidia/gpus")


def visible_gpus(environment: Mapping[str, str], folder: Path = _NVIDIA) -> int:
    """Number of GPUs that `CUDA_VISIBLE_DEVICES` names or, if it is unset, that this machine's driver lists.

    Args:
        environment: of the process.
        folder: where the driver lists its devices.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return len([name for name in named.split(",") if name.strip() and name.strip() != "-1"])
    return len(list(folder.iterdir())) if folder.is_dir() else 0
