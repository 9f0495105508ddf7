"""Planted faults: each is found, with what to do about it; a healthy place has none."""

import os
import re
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from nearid.cli import nearid as command
from nearid.config import load
from nearid.doctor import checks as doctor
from nearid.doctor.checks import (
    check_clock,
    check_display,
    check_downloads,
    check_files,
    check_gpu,
    check_models,
    check_port,
    check_ranks,
    check_space,
    check_versions,
)
from nearid.doctor.help_desk import format_page
from nearid.doctor.slurm_checks import (
    Request,
    check_slurm,
    find_time_limits,
    read_routes,
    refuse_arrays,
    refuse_unfit,
)
from nearid.errors import UserError
from nearid.layout import Layout

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts programs first in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def plant(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return plant


def the_fault(findings, check):
    faults = [finding for finding in findings if finding.level != "fine"]
    assert [fault.check for fault in faults] == [check], faults
    assert len(faults[0].action) > 10
    return faults[0]


def test_1_a_package_is_missing_or_of_another_version(tmp_path):
    lock = tmp_path / "all.lock"
    lock.write_text("# pins\nnumpy==0.1\nno-such-package==1.0\n")
    fault = the_fault(check_versions(lock), "versions")
    assert fault.level == "fault" and "no-such-package" in fault.found and "not 0.1" in fault.found


def test_2_no_gpu_or_a_broken_driver(program):
    program("nvidia-smi", "echo 'driver/library version mismatch'; exit 18")
    fault = the_fault(check_gpu(8), "gpu")
    assert "mismatch" in fault.found
    assert next(iter(check_gpu(0))).level == "fine"


@pytest.mark.parametrize("version, cuda, said", [("2.13.0+cpu", None, "without CUDA"), ("2.13.0", "13.0", "too old")])
def test_3_torch_that_cannot_use_the_gpu(program, monkeypatch, tmp_path, version, cuda, said):
    program("nvidia-smi", "echo 'H100, 80000 MiB, 535.1'")
    (tmp_path / "torch.py").write_text(
        f"from types import SimpleNamespace as Name\n__version__ = {version!r}\nversion = Name(cuda={cuda!r})\n"
        "cuda = Name(is_available=lambda: False)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    fault = the_fault(check_gpu(8), "gpu")
    assert version in fault.found and said in fault.found and "535.1" in fault.found


def test_3_a_gpu_that_is_too_small(program, monkeypatch, tmp_path):
    program("nvidia-smi", "echo 'A100, 40000 MiB, 580.1'")
    monkeypatch.setattr(doctor, "_TRY_GPU", "print('PyTorch 2.13.0 computes on it, 39 of 40 GB free, bfloat16')")
    assert next(iter(check_gpu(40))).level == "fine"
    assert "needs about 66 GB" in the_fault(check_gpu(66), "gpu").found


def test_4_half_of_a_launchers_environment():
    fault = the_fault(check_ranks({"RANK": "0", "WORLD_SIZE": "2"}), "ranks")
    assert "MASTER_PORT" in fault.found and "unset RANK WORLD_SIZE" in fault.action


def test_5_the_port_is_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert str(port) in the_fault(check_port({"MASTER_PORT": str(port)}), "port").found


def test_6_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    fault = the_fault(check_files(tmp_path / "file/results"), "file system")
    assert "Not a directory" in fault.found
    assert {finding.level for finding in check_files(tmp_path / "good")} == {"fine"}
    assert not list((tmp_path / "good").iterdir())


def test_7_a_file_system_that_grants_a_lock_twice_or_is_slow(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.fcntl, "flock", lambda *_: None)
    assert "twice" in the_fault(check_files(tmp_path / "a"), "locks").found
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "SLOW_S", 0.0)
    assert the_fault(check_files(tmp_path / "b"), "file system").level == "note"


def test_8_a_clock_that_is_off(tmp_path, monkeypatch):
    now = doctor.time.time
    monkeypatch.setattr(doctor.time, "time", lambda: now() + 60)
    assert "-60 s off" in the_fault(check_clock(tmp_path), "clock").found


def test_9_too_little_space(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    fault = the_fault(check_space(load("config/demo.yaml"), Layout(tmp_path / "demo")), "space")
    assert "10 MB free" in fault.found and "quota" in fault.action


def test_10_gated_models_without_a_token_and_a_cache_that_is_not_mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    findings = list(check_downloads(load(), Layout(tmp_path / "r"), {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}))
    found = {finding.check: finding for finding in findings}
    assert "FLUX.1 dev non-commercial: flux_canny, flux_fill" in found["licences"].found
    assert found["offline"].level == "note"
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    secret = {"HF_HOME": str(tmp_path), "HF_TOKEN": "hf_secret"}
    findings = list(check_downloads(load(), Layout(tmp_path / "r"), secret))
    assert [finding.check for finding in findings if finding.level == "fault"] == ["hub cache"]
    assert "hf_secret" not in doctor.format_findings(findings)


def test_10_what_a_person_must_bring_or_accept_is_one_list(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    faults = {finding.found.split(":")[0]: finding for finding in doctor.check_files_read(load(), tmp_path)}
    assert {"flux_fill", "flux_canny", "dreambench_samples"} <= set(faults)
    assert all(finding.level == "fault" for finding in faults.values())
    assert "HF_TOKEN" in faults["flux_fill"].action and "samples.zip" in faults["dreambench_samples"].action


def test_11_a_partition_an_account_and_a_status_command_that_do_not_work(program, tmp_path):
    for name in ("sbatch", "squeue", "scancel"):
        program(name, "exit 0")
    program("sinfo", "echo cpu; echo gpu")
    program("sacctmgr", "echo ours")
    program("sacct", "echo 'Slurm accounting storage is disabled'; exit 1")
    profile = tmp_path / "config.yaml"
    profile.write_text("default-resources: {slurm_partition: gpus, slurm_account: theirs}\n")
    found = {finding.check: finding for finding in check_slurm(profile)}
    assert {name for name, finding in found.items() if finding.level == "fault"} == {
        "partition",
        "account",
        "job status",
    }
    assert "cpu, gpu" in found["partition"].action and "ours" in found["account"].action
    assert "squeue" in found["job status"].action
    profile.write_text("slurm-status-command: squeue\ndefault-resources: {slurm_partition: gpu}\n")
    program("scontrol", "echo 'MinJobAge               = 300 sec'")
    assert {finding.level for finding in check_slurm(profile)} == {"fine"}
    program("scontrol", "echo 'MinJobAge               = 30 sec'")
    assert "after 30 s" in the_fault(check_slurm(profile), "job status").found


def test_11_several_partitions_accounts_and_a_file_of_partitions(program, tmp_path):
    for name in ("sbatch", "squeue", "scancel", "sacct"):
        program(name, "exit 0")
    program("sinfo", "echo cpu; echo gpu")
    # Without a user it lists the accounts of all.
    program("sacctmgr", 'case "$*" in *user=?*) echo lab; echo guests;; *) echo lab; echo theirs;; esac')
    profile, routes = tmp_path / "config.yaml", tmp_path / "partitions.yaml"
    profile.write_text("default-resources: {slurm_partition: 'cpu,gpu', slurm_account: 'Lab, guests'}\n")
    assert {finding.level for finding in check_slurm(profile)} == {"fine"}
    profile.write_text("default-resources: {slurm_partition: 'cpu,gpus', slurm_account: theirs}\n")
    found = {finding.check: finding.found for finding in check_slurm(profile) if finding.level == "fault"}
    assert found == {"partition": "gpus is not on this cluster", "account": "theirs is not yours"}
    profile.write_text(f"slurm-partition-config: {routes}\n")
    assert "no file" in the_fault(check_slurm(profile), "partition").found
    routes.write_text("partitions: {gpu: {max_gpu: 4}, far: {cluster: other}, fat: }\n")
    assert read_routes(routes) == "gpu,fat"
    assert the_fault(check_slurm(profile), "partition").found == "fat is not on this cluster"


SINFO = """
echo 'cpu*|2-00:00:00|20|64|256000|(null)'
echo 'gpu|12:00:00|2|32+|512000+|gpu:a100:4(S:0-1),lscratch:1'
echo 'gpu|12:00:00|2|32|512000|gpu:v100:2'
echo 'old|infinite|1|8|64000|gpu:2'
"""


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        (("cpu", 600, 0), "", ""),
        (("gpu", 600, 1, "", "a100"), "", ""),
        (("cpu,gpu", 600, 1), "", ""),
        (("old", 9999, 1), "", ""),
        (("", 600, 1), "train asks for a GPU, the default partition has none", "(gpu, old)"),
        (("old", 600, 1, "", "a100"), "", ""),
        (("gpu", 600, 1, "", "h100"), "train asks for a GPU h100, gpu has none", "a100, v100"),
        (("cpu,gpu", 2000, 1), "train asks for 2000 minutes, cpu,gpu allows 720", "train:runtime=720"),
        (("gpu,fat", 600, 1), "partition fat is not on this cluster", "cpu, gpu, old"),
        (("cpu", 600, 0, "LAB"), "", ""),
        (("cpu", 600, 0, "lab,theirs"), "account theirs is not yours", "one of lab"),
    ],
)
def test_11_a_job_that_the_cluster_cannot_take(program, asked, found, expected):
    program("sinfo", SINFO)
    program("sacctmgr", "echo lab")
    if not found:
        return refuse_unfit([Request("train", *asked)])
    with pytest.raises(UserError) as refused:
        refuse_unfit([Request("train", *asked)])
    assert refused.value.found == found and expected in refused.value.expected


def test_11_how_long_a_rule_s_jobs_may_run(program):
    program("sinfo", SINFO)
    requests = [Request("train", "", 1, 0), Request("train", "cpu,gpu", 1, 1), Request("score", "gpu,old", 1, 1)]
    assert find_time_limits(requests) == {"train": 720, "score": float("inf")}
    program("sinfo", "echo 'cpu|1:00:00|1|8|64000|(null)'")
    assert find_time_limits(requests) == {}, "no default partition, and none with GPUs"
    with pytest.raises(UserError, match="no partition is named"):
        refuse_unfit(requests[:1])
    program("sinfo", "exit 1")
    assert find_time_limits(requests) == {}
    refuse_unfit(requests)


@pytest.mark.parametrize(
    ("at_a_time", "per_timespan", "status", "found"),
    [
        (100, None, "squeue", ""),
        (64, 5, "squeue", "64 jobs at a time, 5 jobs in"),
        (100, 100, "sacct", "states by sacct"),
    ],
)
def test_11_arrays_of_which_jobs_would_be_lost(at_a_time, per_timespan, status, found):
    if not found:
        return refuse_arrays(100, at_a_time, per_timespan, status)
    with pytest.raises(UserError) as refused:
        refuse_arrays(100, at_a_time, per_timespan, status)
    assert found in refused.value.found and "give --" in refused.value.action


def test_12_no_library_to_render_with(monkeypatch):
    monkeypatch.setattr(doctor.ctypes.util, "find_library", lambda name: None)
    assert "libegl1" in the_fault(check_display(True), "rendering").action


def test_13_a_backbone_that_is_missing_or_a_pickle(tmp_path):
    config = load("config/demo.yaml")
    config["backbones"]["demo_siglip"]["path"] = str(tmp_path)
    the_fault(check_models(config), "backbone")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_text("")
    assert "pickles" in the_fault(check_models(config), "backbone").action


def test_14_a_page_for_the_help_desk(program, tmp_path):
    program("sinfo", "echo 'cpu|2-00:00:00|20|64|256000|(null)'; echo 'gpu|12:00:00|2|32+|512000+|gpu:a100:4'")
    qos = "*'show qos'*) echo 'normal|50|500|1-00:00:00|gres/gpu=8'; echo 'theirs|1|1||'"
    program("sacctmgr", f"case \"$*\" in {qos};; *) echo 'lab|normal|100|200||';; esac")
    program("scontrol", "echo 'MinJobAge               = 300 sec'")
    profile = tmp_path / "config.yaml"
    text = (ROOT / "slurm/config.yaml").read_text()
    profile.write_text(text.replace('# slurm_partition: ""', "slurm_partition: gpu"))
    faults = [doctor.Finding("job status", "fault", "sacct: no answer"), doctor.Finding("missing", "fault", "a model")]
    page = format_page(load(), Layout(tmp_path / "paper"), profile, faults)
    asked, offered, short = re.split("Offered|Short:", page)
    assert "partition gpu" in asked and re.search(r"inpaint_part +368 +4 +24000 +\d+ +1 +66 GB", asked)
    assert re.search(r"summarise_scores, 16 together +2 +1 +2000 +240 ", asked)
    assert re.search(r"gpu +720 min +2 +32 +512000 +gpu:a100:4", offered) and re.search(
        r"lab +normal +100 +200", offered
    )
    assert re.search(r"normal +50 +500 +1-00:00:00 +gres/gpu=8", offered) and "theirs" not in offered
    assert "MinJobAge 300 sec" in offered
    assert "job status: sacct: no answer" in short and "a model" not in short
    assert re.search(r"score_nearid_bench: no node of these partitions has .*9\d\d minutes, 1 GPU", short)
    assert len(page.splitlines()) < 50 and max(map(len, page.splitlines())) < 200
    # Without a partition named, the cluster's default one is what jobs get.
    profile.write_text(text)
    program("sinfo", "echo 'cpu*|2-00:00:00|20|64|256000|(null)'; echo 'gpu|2-00:00:00|2|32|512000|gpu:a100:4'")
    page = format_page(load(), Layout(tmp_path / "paper"), profile, [])
    assert re.search(r"inpaint_part: no node of these partitions has .*1 GPU", page.partition("Short:")[2])
    (tmp_path / "partitions.yaml").write_text("partitions: {cpu: {}, gpu: {max_gpu: 4}}\n")
    profile.write_text(f"{text}slurm-partition-config: {tmp_path}/partitions.yaml\n")
    page = format_page(load(), Layout(tmp_path / "paper"), profile, [])
    assert "partitions by" in page and "nothing that could be seen" in page
    program("sinfo", "exit 1")
    assert "nothing that could be seen" in format_page(load(), Layout(tmp_path / "paper"), profile, [])


def test_exit_code_and_a_broken_check(monkeypatch):
    run = lambda: CliRunner().invoke(command, ["doctor", "config/demo.yaml"])  # noqa: E731
    monkeypatch.setattr(doctor, "check_files", lambda folder: [doctor.Finding("file system", "fine", "good")])
    monkeypatch.setattr(doctor, "check_versions", lambda lock: [])
    monkeypatch.setattr(doctor, "check_display", lambda needed: [])
    monkeypatch.setattr(doctor, "check_space", lambda *_: [])
    # DeepSpeed leaves them behind if it has trained in this process.
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert run().exit_code == 0
    monkeypatch.setenv("RANK", "0")
    result = run()
    assert result.exit_code == 1 and "next: unset RANK" in result.output
    monkeypatch.setattr(doctor, "check_ranks", lambda environment: {}["x"])
    assert "a check broke" in run().output
