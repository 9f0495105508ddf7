"""Checks before hours are spent: what is wrong with this machine, cluster or folder, and what to do about it."""

from __future__ import annotations

import ctypes.util
import fcntl
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Literal

from nearid.config.facts import download_facts
from nearid.config.inputs import cached_model, is_hub_id, missing_path, missing_paths
from nearid.config.members import used_backbones
from nearid.config.missing import find_missing, has_token
from nearid.config.sizes import check_sizes
from nearid.config.types import Config
from nearid.doctor.findings import Finding
from nearid.doctor.slurm_checks import check_slurm
from nearid.errors import UserError
from nearid.io.programs import ask, brief
from nearid.layout import Layout
from nearid.planning.plan import make_plan
from nearid.workflow.jobs import Jobs
from nearid.workflow.needs import needs_of

# What a step does first: a product on the GPU. In a process of its own, since a faulty driver may kill it.
_TRY_GPU = """
import sys, torch
built = f"PyTorch {torch.__version__}"
if not torch.cuda.is_available():
    sys.exit(f"{built} " + (f"for CUDA {torch.version.cuda} finds no GPU: its driver is too old, or none is visible"
                            if torch.version.cuda else "is a build without CUDA"))
try:
    product = torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda")
    assert product.cpu()[0, 0] == 64, product
except (RuntimeError, AssertionError) as error:
    sys.exit(str(error).splitlines()[0])
free, whole = torch.cuda.mem_get_info()
half = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16: set precision float16"
print(f"{built} computes on it, {free / 1e9:.0f} of {whole / 1e9:.0f} GB free, {half}")
"""
# A slower file operation delays every step noticeably.
SLOW_S = 0.5
# A larger difference between clocks misleads Snakemake, which compares modification times of files.
SKEW_S = 5.0
_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def examine(config: Config, layout: Layout, cluster: bool = False, root: Path = Path()) -> list[Finding]:
    """All checks.

    Args:
        config: of the run.
        layout: where its results go.
        cluster: whether it runs on SLURM.
        root: the repository.
    """
    checks: list[Callable[[], Iterable[Finding]]] = [
        lambda: check_versions(root / "envs/all.lock"),
        lambda: check_gpu(0 if cluster else max(needs_of(job).gpu_gb for job in Jobs(config, layout).all())),
        lambda: check_display(config["dataset"]["kind"] == "rendered"),
        lambda: check_ranks(os.environ),
        lambda: check_port(os.environ),
        lambda: check_files(layout.root.parent),
        lambda: check_clock(layout.root.parent),
        lambda: check_space(config, layout),
        lambda: check_downloads(config, layout, os.environ),
        lambda: check_paths(config),
        lambda: check_split_sizes(config),
        lambda: check_models(config),
        lambda: check_files_read(config, root),
    ]
    if cluster:
        checks.append(lambda: check_slurm(root / "slurm/config.yaml"))
    return [finding for check in checks for finding in _run(check)]


def format_findings(findings: Iterable[Finding]) -> str:
    """A line for each, and one more for what to do."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<6}{finding.check}: {finding.found}")
        if finding.action:
            lines.append(f"      next: {finding.action}")
    return "\n".join(lines) + "\n"


def check_versions(lock: Path) -> Iterator[Finding]:
    """Compare the installed packages with the lock."""
    if not lock.is_file():
        yield Finding("versions", "note", f"no {lock}", "run it from the repository's root")
        return
    pinned = dict(line.split("==") for line in lock.read_text().splitlines() if "==" in line and line[0] != "#")
    missing, other = [], []
    for name, version in pinned.items():
        try:
            # A local label (+cpu) only names the build.
            installed = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if installed != version.split("+")[0]:
            other.append(f"{name} {installed}, not {version}")
    if missing or other:
        level: Literal["note", "fault"] = "fault" if missing else "note"
        parts = [_some("missing", missing), _some("other", other)]
        yield Finding("versions", level, "; ".join(filter(None, parts)), "make setup, or activate .venv")
    else:
        yield Finding("versions", "fine", f"{len(pinned)} packages as locked")


def check_gpu(needed_gb: int) -> Iterator[Finding]:
    """Check that there is a GPU if the config needs one, that torch can use it, and that the largest job fits."""
    answer = ask("nvidia-smi", "--query-gpu=name,memory.free,driver_version", "--format=csv,noheader")
    if answer is None or answer[0]:
        if needed_gb:
            said = "no nvidia-smi" if answer is None else f"nvidia-smi fails: {brief(answer[1])}"
            action = "run where there is a GPU, on a cluster (--cluster), or a config without large models"
            yield Finding("gpu", "fault", said, action)
        else:
            yield Finding("gpu", "fine", "none, and none is needed")
        return
    cards = answer[1].strip().replace("\n", "; ")
    tried = ask(sys.executable, "-c", _TRY_GPU, timeout_s=120)
    if tried is None or tried[0]:
        said = brief(tried[1]) if tried else "no answer"
        action = "install a PyTorch for this driver into .venv (README, GPUs)"
        yield Finding("gpu", "fault", f"{cards}, but PyTorch cannot use it: {said}", action)
        return
    words = brief(tried[1])
    whole = re.search(r"of (\d+) GB", words)
    if whole and int(whole[1]) < needed_gb:
        found = f"{cards}; {words}; the largest job needs about {needed_gb} GB"
        yield Finding(
            "gpu", "fault", found, "take a larger GPU, a smaller batch_size, or leave out what `nearid plan` names"
        )
    else:
        yield Finding("gpu", "fine", f"{cards}; {words}")


def check_display(needed: bool) -> Iterator[Finding]:
    """Check for EGL, which renders the demo's objects without a display."""
    if not needed:
        return
    if ctypes.util.find_library("EGL"):
        yield Finding("rendering", "fine", "EGL is there")
    else:
        yield Finding("rendering", "fault", "no libEGL", "apt-get install libegl1 libgl1-mesa-dri")


def check_ranks(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check torchrun's variables: with only some of them set, training fails or hangs."""
    there = [name for name in _RANKS if environment.get(name)]
    # A site may set only the address; srun gives the rest.
    if there and there != ["MASTER_ADDR"] and len(there) < len(_RANKS):
        lacking = ", ".join(name for name in _RANKS if name not in there)
        action = f"unset {' '.join(there)}, or start through torchrun or srun"
        yield Finding("ranks", "fault", f"{', '.join(there)} without {lacking}", action)
    else:
        yield Finding("ranks", "fine", "set by a launcher" if there else "not set: one process")


def check_port(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check that the rendezvous port of several ranks can be opened."""
    text = environment.get("MASTER_PORT") or "0"
    if not text.isdecimal() or int(text) > 65535:
        yield Finding("port", "fault", f"MASTER_PORT is {text!r}, no port", "unset MASTER_PORT, or choose a number")
        return
    port = int(text)
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
        yield Finding("port", "fine", f"{port or 'a free one'} can be opened")
    except OSError as error:
        yield Finding("port", "fault", f"port {port}: {error.strerror}", "unset MASTER_PORT, or choose another")


def check_files(folder: Path) -> Iterator[Finding]:
    """Check that the results' file system renames, flushes and locks, and how fast."""
    place = folder / f".doctor-{os.getpid()}"
    try:
        place.mkdir(parents=True)
        start = time.monotonic()
        for number in range(5):
            private, target = place / "private", place / f"{number}"
            with private.open("wb") as stream:
                stream.write(b"x" * 4096)
                stream.flush()
                os.fsync(stream.fileno())
            private.replace(target)
            if private.exists() or not target.exists():
                yield Finding("file system", "fault", f"a rename in {folder} shows late", "put results_dir elsewhere")
        took = (time.monotonic() - start) / 5
        with (place / "lock").open("w") as first, (place / "lock").open("w") as second:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
                action = "never start two runs at once here, or put results_dir elsewhere"
                yield Finding("locks", "fault", f"{folder} grants one lock twice", action)
            except BlockingIOError:
                yield Finding("locks", "fine", "held as they should be")
    except OSError as error:
        action = "choose a results_dir that you may write to, on a file system with locks (NFS: mount without nolock)"
        yield Finding("file system", "fault", f"{folder}: {error.strerror or error}", action)
        return
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if took > SLOW_S:
        action = "put results_dir on a faster file system; with SLURM raise latency-wait in slurm/config.yaml"
        yield Finding("file system", "note", f"{took:.1f} s to write a small file safely in {folder}", action)
    else:
        yield Finding("file system", "fine", f"{took * 1000:.0f} ms to write a small file safely")


def check_clock(folder: Path) -> Iterator[Finding]:
    """Compare the clock of the file system with that of the machine."""
    probe = folder / f".doctor-clock-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        skew = probe.stat().st_mtime - time.time()
        probe.unlink()
    except OSError:
        return  # check_files reports it
    if abs(skew) > SKEW_S:
        action = "have the clocks set (NTP): Snakemake goes by file times and would run steps again"
        yield Finding("clock", "fault", f"the file system's is {skew:+.0f} s off", action)
    else:
        yield Finding("clock", "fine", "agrees with the file system's")


def check_space(config: Config, layout: Layout) -> Iterator[Finding]:
    """Compare free space and memory with the plan."""
    plan = make_plan(config, layout)
    for warning in plan.warnings:
        found, _, action = warning.partition(": ")
        if "GPU" not in found and "is not there" not in warning:
            yield Finding("space", "fault" if "to write" in found else "note", found, action or "see `nearid plan`")
    if not any("to write" in warning for warning in plan.warnings):
        yield Finding("space", "fine", "enough for what is still to do (`nearid plan`)")


def check_downloads(config: Config, layout: Layout, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Which downloads are still to be fetched, and whether the hub will allow it."""
    names = [job.name for job in Jobs(config, layout).of("fetch_download") if not job.outputs[0].exists()]
    if not names:
        yield Finding("downloads", "fine", "nothing to fetch")
        return
    yield Finding("downloads", "note", _some("to fetch", names), "they are fetched by the first run, where it starts")
    home = Path(environment.get("HF_HOME", Path.home() / ".cache/huggingface"))
    above = next(path for path in (home, *home.absolute().parents) if path.exists())
    if not os.access(above, os.W_OK):
        yield Finding("hub cache", "fault", f"{home} cannot be written", "set HF_HOME to a folder of yours")
    licences: dict[str, list[str]] = {}
    for name in names:
        licences.setdefault(config["downloads"][name]["licence"], []).append(name)
    told = "; ".join(f"{licence}: {', '.join(own)}" for licence, own in licences.items())
    yield Finding("licences", "note", told, "read those that you do not know: a run accepts them")
    gated = [name for name in names if download_facts().get(name, {}).get("gated")]
    if gated and has_token(environment):
        action = "accept their licences on the hub with the account of that token, else the fetch is refused"
        yield Finding("gated models", "note", f"a token is here; {', '.join(gated)} need an accepted licence", action)
    if environment.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        yield Finding("offline", "note", "HF_HUB_OFFLINE is set", "unset it where the downloads run")


def check_paths(config: Config) -> Iterator[Finding]:
    """Check that files and folders of the user exist."""
    missing = missing_paths(config)
    for key, path in missing.items():
        error = missing_path(key, path)
        yield Finding("own files", "fault", f"{key}: {error.found}", error.action)
    if not missing:
        yield Finding("own files", "fine", "all that the config names are there")


def check_split_sizes(config: Config) -> Iterator[Finding]:
    """Check that every split that something selected reads has identities, as far as that is known."""
    try:
        check_sizes(config)
    except UserError as error:
        yield Finding("splits", "fault", error.found, error.action)
    else:
        yield Finding("splits", "fine", "sizes of splits, heads and figures fit together")


def check_files_read(config: Config, root: Path) -> Iterator[Finding]:
    """Report every download, checkout, folder and file that a step will read, that is missing and cannot be fetched."""
    missing = find_missing(config, root)
    level: Literal["note", "fault"] = "note" if config["on_missing"] == "gap" else "fault"
    for one in missing:
        yield Finding("missing", level, f"{one.name}: {one.found} (for {one.needed_by})", one.action)
    if not missing:
        yield Finding("missing", "fine", "all that steps read is there, or can be fetched")


def check_models(config: Config) -> Iterator[Finding]:
    """Check that local backbones exist, as safetensors rather than pickles."""
    for name in used_backbones(config):
        path = config["backbones"][name]["path"]
        if path.startswith("resources/") or not path:
            continue
        folder = Path(path)
        if is_hub_id(path):
            cached = cached_model(path, config["backbones"][name]["revision"])
            if cached is None:
                action = f"`hf download {path}`, or add it to `downloads` and write resources/<id>"
                yield Finding("backbone", "fault", f"{name}: {path} is no folder, nor in the hub's cache", action)
                continue
            folder = cached
        if not (folder / "config.json").is_file():
            yield Finding("backbone", "fault", f"{name}: no {path}/config.json", f"correct backbones.{name}.path")
        elif not list(folder.glob("*.safetensors")):
            action = "convert it to safetensors: pickles are not opened"
            yield Finding("backbone", "fault", f"{name}: no safetensors in {path}", action)
        else:
            yield Finding("backbone", "fine", f"{name} is there")


def _run(check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """The findings of a check; an error in the check becomes a finding."""
    try:
        return list(check())
    except (OSError, ValueError, KeyError) as error:
        return [Finding("doctor", "note", f"a check broke: {type(error).__name__} {error}", "tell the developers")]


def _some(label: str, names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{label}: {', '.join(names[:4])}{more}" if names else ""
