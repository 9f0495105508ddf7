"""Memory requests: their formulas hold in a real limit at small sizes, and at the paper's sizes they are requested."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nearid.workflow.memory import RUNTIME, extraction_bytes, pinned_bytes, training_bytes
from nearid.workflow.needs import LARGE

HERE = Path(__file__).parent
CASES = [f"{path}, {case}" for path in ("experts", "decoding", "pinned") for case in ("enough", "too little")]


def memory_cgroup():
    """A folder in which this process may make memory cgroups; None if there is none."""
    for parent in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        probe = parent / f"nearid-probe-{os.getpid()}"
        try:
            probe.mkdir()
        except OSError:
            continue
        try:
            for name in ("memory.limit_in_bytes", "memory.max"):
                if (probe / name).exists() and os.access(probe / "cgroup.procs", os.W_OK):
                    return parent
        finally:
            probe.rmdir()
    return None


@pytest.fixture(scope="module")
def statuses(tmp_path_factory):
    parent = memory_cgroup()
    done = subprocess.run(
        [sys.executable, str(HERE / "memory_paths.py"), str(tmp_path_factory.mktemp("paths")), *filter(None, [parent])],
        # Freed memory is returned at once: how much of it the C library would keep per thread is random.
        env=os.environ | {"OMP_NUM_THREADS": "1", "NEARID_DEVICE": "cpu", "MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize("case", CASES)
def test_the_heaviest_paths_take_no_more_than_is_counted(statuses, case):
    """And much less memory ends them: so the limit works, and the path does need the memory."""
    found, told = statuses
    if case not in found:
        pytest.skip("no memory cgroup can be made here, and RLIMIT_DATA counts mapped files and threads' stacks")
    assert (found[case] == 0) == case.endswith("enough"), told[-3000:]


def test_the_requests_are_those_formulas_at_the_paper_s_size():
    image = 729 * 1152 * 2
    extraction = RUNTIME + extraction_bytes(64 * 3 * 384 * 384, 64 * image, 2826 * 600_000, workers=8)
    assert extraction <= LARGE["extract/gpu"].memory_mb * 1e6 < 1.5 * extraction
    # Rounded by hand: a batch of 1.29 GB takes 2 GiB, one of validation 512 MiB.
    batch, validation = 128 * 6 * image, 16 * 6 * image * 2
    assert (pinned_bytes(batch), pinned_bytes(validation)) == (2**31, 2**29)
    training = RUNTIME + training_bytes(batch, validation, held=2)
    assert training <= LARGE["train/gpu"].memory_mb * 1e6 < 1.5 * training
