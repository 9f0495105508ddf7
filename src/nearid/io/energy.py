"""Energy of a step, from the counters of the CPU packages (RAPL) and of NVIDIA GPUs (NVML), where they may be read.

Both count for a whole device. A step is assigned the packages' energy in proportion to its share of the machine's CPU
time, so that parallel jobs add up, and the energy of those GPUs in whose memory it had anything. NVML lists
every GPU of the machine, whatever the job was given.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nearid.io.files import write_json

POWERCAP = Path("/sys/class/powercap")
STAT = Path("/proc/stat")
NVML = "libnvidia-ml.so.1"
_ID_BYTES = 96


@dataclass(frozen=True)
class Counters:
    """What the machine's counters say at one moment.

    Attributes:
        packages: joules by CPU package, and the joules at which its counter starts from zero again.
        gpus: joules by a GPU's unique id.
        busy_s: CPU seconds spent on this machine by anybody.
        own_s: CPU seconds spent by this process and the children that it waited for.
    """

    packages: Mapping[str, tuple[float, float]]
    gpus: Mapping[str, float]
    busy_s: float
    own_s: float


@contextmanager
def metered(path: Path) -> Iterator[None]:
    """Write the joules used in this context to `path`; without any counter no file is left there."""
    path.unlink(missing_ok=True)
    before = read_counters()
    try:
        yield
    finally:
        joules = difference(before, read_counters(), _used_gpus())
        try:
            if joules:
                write_json(path, {"joules": joules})
        except OSError as error:  # a full disk: the step has told of it, or ended well without this number
            print(f"the step's energy is not kept: {error}", file=sys.stderr, flush=True)


def difference(before: Counters, after: Counters, used: Collection[str]) -> dict[str, float]:
    """Joules between two readings, by `cpu` and `gpu`; what has no counter is not there.

    Args:
        used: unique ids of the GPUs that this process used.
    """
    joules = {}
    # A counter that is smaller than before has been round once.
    packages = [
        joule - before.packages[name][0] + (span if joule < before.packages[name][0] else 0.0)
        for name, (joule, span) in after.packages.items()
        if name in before.packages
    ]
    busy = after.busy_s - before.busy_s
    if packages and busy > 0:
        joules["cpu"] = round(sum(packages) * min(1.0, (after.own_s - before.own_s) / busy), 3)
    own = {id: joule for id, joule in after.gpus.items() if id in used}
    if own:
        joules["gpu"] = round(sum(joule - before.gpus.get(id, joule) for id, joule in own.items()), 3)
    return joules


def read_counters(powercap: Path = POWERCAP, stat: Path = STAT, nvml: str = NVML) -> Counters:
    """The counters now; those that this machine lacks, or hides from this user, are left out."""
    times = os.times()
    return Counters(_read_packages(powercap), _read_gpus(nvml), _read_busy(stat), sum(times[:4]))


def _read_packages(folder: Path) -> dict[str, tuple[float, float]]:
    found = {}
    for zone in sorted(folder.glob("intel-rapl:*")):
        try:
            # Sub-zones (cores, memory) are part of their package or hidden.
            if zone.name.count(":") == 1 and (zone / "name").read_text().startswith("package"):
                values = [int((zone / name).read_text()) / 1e6 for name in ("energy_uj", "max_energy_range_uj")]
                found[zone.name] = (values[0], values[1])
        except (OSError, ValueError):
            continue
    return found


def _read_busy(stat: Path) -> float:
    try:
        fields = [int(field) for field in stat.read_text().splitlines()[0].split()[1:]]
    except (OSError, ValueError, IndexError):
        return 0.0
    # user nice system idle iowait irq softirq steal
    return sum(fields[:3] + fields[5:7]) / os.sysconf("SC_CLK_TCK")


def _read_gpus(library: str) -> dict[str, float]:
    try:
        nvml = ctypes.CDLL(library)
        if nvml.nvmlInit_v2():
            return {}
    except (OSError, AttributeError):
        return {}
    found, count = {}, ctypes.c_uint()
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for index in range(count.value):
        device, millijoules, id = ctypes.c_void_p(), ctypes.c_ulonglong(), ctypes.create_string_buffer(_ID_BYTES)
        failed = nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device))
        failed = failed or nvml.nvmlDeviceGetUUID(device, id, _ID_BYTES)
        if not failed and not nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules)):
            found[id.value.decode()] = millijoules.value / 1e3
    nvml.nvmlShutdown()
    return found


def _used_gpus() -> list[str]:
    torch = sys.modules.get("torch")
    if not (torch and torch.cuda.is_available() and torch.cuda.is_initialized()):
        return []
    seen = range(torch.cuda.device_count())
    used = [number for number in seen if torch.cuda.max_memory_reserved(number)]
    # NVML writes `GPU-` before what CUDA calls a device's UUID.
    return [f"GPU-{torch.cuda.get_device_properties(number).uuid}" for number in used]
