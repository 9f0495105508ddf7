"""Energy counters: read from made-up device files and a made-up NVML, shared by CPU time, never invented."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from nearid.io import energy
from nearid.io.energy import Counters, difference, metered, read_counters

NVML = """
#include <stdio.h>
static int open = 0;
int nvmlInit_v2(void) { open = 1; return 0; }
int nvmlShutdown(void) { open = 0; return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 3; return open ? 0 : 1; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { *device = (void *)(index + 1ul); return 0; }
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length) {
  snprintf(uuid, length, "GPU-%lu", (unsigned long)device - 1);
  return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
  *millijoules = 5000000000ull * (unsigned long)device;
  return (unsigned long)device == 2 ? 3 : 0; /* the second is too old for it */
}
"""


def counters(joules=0.0, busy=0.0, own=0.0, gpu=None):
    return Counters(
        {"intel-rapl:0": (joules, 100.0)}, {} if gpu is None else {"GPU-a": gpu, "GPU-b": 3 * gpu}, busy, own
    )


def test_a_step_gets_its_share_of_the_packages_and_the_gpus_that_it_used():
    before, after = counters(10.0, 5.0, 1.0, gpu=7.0), counters(50.0, 25.0, 6.0, gpu=9.5)
    assert difference(before, after, used=[]) == {"cpu": 10.0}
    assert difference(before, after, used=["GPU-a"]) == {"cpu": 10.0, "gpu": 2.5}
    # The counter starts again after 100 joules.
    assert difference(counters(90.0), counters(10.0, 4.0, 4.0), used=[]) == {"cpu": 20.0}
    assert difference(Counters({}, {}, 0, 0), Counters({}, {}, 4, 4), used=["GPU-a"]) == {}


def test_only_gpus_with_memory_of_this_process_are_its_own(monkeypatch):
    cuda = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: 2,
        max_memory_reserved=lambda number: 2**21 * number,
        get_device_properties=lambda number: SimpleNamespace(uuid=f"uuid-{number}"),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert energy._used_gpus() == ["GPU-uuid-1"]


def test_packages_are_read_and_their_parts_and_hidden_ones_left_out(tmp_path):
    for zone, name, joules in (
        ("intel-rapl:0", "package-0", "2500000"),
        ("intel-rapl:0:0", "core", "1000000"),
        ("intel-rapl:1", "psys", "9000000"),
        ("intel-rapl:2", "package-1", "not to be read"),
    ):
        (tmp_path / zone).mkdir()
        for file, text in (("name", name), ("energy_uj", joules), ("max_energy_range_uj", "262143328850")):
            (tmp_path / zone / file).write_text(text + "\n")
    (tmp_path / "stat").write_text("cpu  100 0 100 900 50 20 30 0\ncpu0 1 1 1 1 1 1 1 1\n")
    read = read_counters(tmp_path, tmp_path / "stat", nvml="no such library")
    assert read.packages == {"intel-rapl:0": (2.5, 262143.32885)} and read.gpus == {}
    assert read.busy_s > 0


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_gpus_are_asked_through_nvml(tmp_path):
    (tmp_path / "nvml.c").write_text(NVML)
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "nvml.c"], check=True)
    assert read_counters(tmp_path, tmp_path / "stat", str(library)).gpus == {"GPU-0": 5e6, "GPU-2": 1.5e7}


def test_without_a_counter_no_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "logs/step.energy.json"
    path.parent.mkdir()
    path.write_text("of an earlier run")
    readings = iter([counters(), counters()])
    monkeypatch.setattr("nearid.io.energy.read_counters", lambda: next(readings))
    with metered(path):
        pass
    assert not path.exists()
    readings = iter([counters(), counters(8.0, 2.0, 1.0)])
    with metered(path):
        pass
    assert json.loads(path.read_text()) == {"joules": {"cpu": 4.0}}
