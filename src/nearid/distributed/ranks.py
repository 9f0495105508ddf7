"""One bootstrap of ranks: torchrun, srun, or one plain process."""

from __future__ import annotations

import atexit
import logging
import os
import socket
from dataclasses import dataclass

from nearid.distributed.devices import choose_device
from nearid.errors import UserError

logger = logging.getLogger(__name__)

VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Ranks:
    """Rank of one process among `size`."""

    rank: int
    local_rank: int
    size: int


def read_ranks() -> Ranks:
    """The process's rank, from the launcher's environment; without a launcher rank 0 of 1, on a free port.

    The world size is never guessed from an allocation: it comes from torchrun or the step that srun started, else there
    is one process. The variables are set for libraries that read them (DeepSpeed). With srun the port is derived from
    the job's id; at a site whose nodes cannot resolve each other's names, set MASTER_ADDR.

    Raises:
        UserError: only some of the variables are set, or they contradict each other.
    """
    found = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if found.keys() <= {"MASTER_ADDR"}:
        alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
        several = os.environ.get("SLURM_STEP_NUM_TASKS", "") not in ("", "1")
        found = (_ask_srun() if several else alone | {"MASTER_PORT": str(_free_port())}) | found
        os.environ.update(found)
    if len(found) < len(VARIABLES):
        missing = ", ".join(name for name in VARIABLES if name not in found)
        raise _refuse(f"{', '.join(found)} without {missing}")
    try:
        ranks = Ranks(int(found["RANK"]), int(found["LOCAL_RANK"]), int(found["WORLD_SIZE"]))
        port = int(found["MASTER_PORT"])
    except ValueError as error:
        raise _refuse(str(error)) from error
    if not 0 <= ranks.rank < ranks.size:
        raise _refuse(f"RANK {ranks.rank} of WORLD_SIZE {ranks.size}")
    if not 0 < port < 65536:
        raise _refuse(f"MASTER_PORT {port}")
    return ranks


def join() -> Ranks:
    """Join the process group: gloo on a CPU, NCCL on GPUs.

    A process joins once and leaves when it exits, since DeepSpeed never releases groups of its own.

    Raises:
        UserError: see `read_ranks` and `choose_device`.
    """
    import torch
    import torch.distributed as dist

    ranks = read_ranks()
    if dist.is_initialized():
        return ranks
    device = choose_device(ranks.local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    # A single process needs no port, so that there is none to clash.
    store = dist.HashStore() if ranks.size == 1 else None
    logger.info("rank %d of %d on %s, %s", ranks.rank, ranks.size, socket.gethostname(), backend)
    dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.size)
    atexit.register(dist.destroy_process_group)
    return ranks


def _ask_srun() -> dict[str, str]:
    from submitit.helpers import TorchDistributedEnvironment

    os.environ.setdefault("SUBMITIT_EXECUTOR", "slurm")  # so that submitit reads SLURM's variables
    step = TorchDistributedEnvironment()
    values = (step.rank, step.local_rank, step.world_size, step.master_addr, step.master_port)
    return dict(zip(VARIABLES, map(str, values), strict=True))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _refuse(found: str) -> UserError:
    return UserError(
        "environment of the launcher",
        found,
        f"all of {', '.join(VARIABLES)}, or none",
        "start with torchrun or srun, or unset them for one process",
    )
