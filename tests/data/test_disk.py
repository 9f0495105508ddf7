"""A results folder on a full disk, or without permission to write."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import SOURCES
from pictures import curate, curation, read_bytes, save_folder

from nearid.layout import Layout


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A RAM disk of 32 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def run(settings: dict, results: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nearid", "data", "curate", "--results", results, "--settings", json.dumps(settings)],
        env=os.environ | {"PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_a_full_disk_is_named_and_more_room_is_enough_to_go_on(tmp_path: Path, disk: Path) -> None:
    settings = curation(save_folder(tmp_path / "in", {f"thing {n}": 2 for n in range(6)}), test="all")
    failed = run(settings, disk / "results")
    assert failed.returncode == 2, failed.stderr
    assert "no space left" in failed.stderr
    assert str(disk) in failed.stderr
    assert "Traceback" not in failed.stderr
    layout = Layout(disk / "results")
    assert not [path for path in (layout.positives("000"), layout.identities, layout.splits) if path.exists()]
    assert not list(disk.rglob("*.partial"))

    remount(disk, "size=16m")
    assert run(settings, disk / "results").returncode == 0
    elsewhere = Layout(tmp_path / "elsewhere")
    curate(settings, elsewhere)
    assert read_bytes(layout) == read_bytes(elsewhere)


def test_a_read_only_results_folder_is_named(tmp_path: Path, disk: Path) -> None:
    settings = curation(save_folder(tmp_path / "in", {"a": 2, "b": 2}))
    remount(disk, "ro")
    failed = run(settings, disk / "results")
    assert failed.returncode == 2
    assert "read-only" in failed.stderr
    assert str(disk) in failed.stderr
    assert "Traceback" not in failed.stderr
