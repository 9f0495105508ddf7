"""What a job requests from a cluster: the needs of its step (`nearid.workflow.steps`), more if it has more work."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from nearid.workflow.jobs import JOIN, Job
from nearid.workflow.memory import RUNTIME, extraction_bytes, layout_bytes, training_bytes
from nearid.workflow.rates import WAITING, default_rate
from nearid.workflow.step import Needs
from nearid.workflow.steps import RULES


def _request(counted: int) -> int:
    """Memory in MB to request for `counted` bytes beside the libraries."""
    return 2000 * math.ceil((RUNTIME + counted) / 2e9)


# At the paper's sizes: a batch of 64 images for so400m, its tokens, the largest shard of pictures (0.6 MB each).
_IMAGE = 729 * 1152 * 2
_EXTRACTION = _request(extraction_bytes(64 * 3 * 384 * 384, 64 * _IMAGE, 2826 * 600_000, workers=8))
# Two batches of 128 tuples are in memory, and batches of 16 samples of validation.
_TRAINING = _request(training_bytes(128 * 6 * _IMAGE, 2 * 16 * 6 * _IMAGE, held=2))
# Memory and GPU memory of jobs that run a large model, by key of their rate. Weights pass through host memory file by
# file, as safetensors are mapped; SDXL is cast from float32. GPU memory of a painter is that of its weights and of the
# largest forward pass of its batch without fused attention: FLUX 24 GB and 18 for four images of 1024 pixels, Qwen 45
# and 20 for two of 1328, SDXL's VAE in float32 2.7 for each image of 1024.
LARGE = {
    "flux_fill": Needs(24_000, 0, 1, 44),
    "flux_canny": Needs(24_000, 0, 1, 44),
    "qwen_controlnet": Needs(24_000, 0, 1, 66),
    "sdxl_inpaint": Needs(24_000, 0, 1, 24),
    "powerpaint": Needs(16_000, 0, 1, 20),
    "extract/gpu": Needs(_EXTRACTION, 0, 1, 8),
    # On the GPU two batches, and the tokens of validation.
    "train/gpu": Needs(_TRAINING, 0, 1, 10),
    "train_online/gpu": Needs(16_000, 0, 1, 12),
    "embed/gpu": Needs(12_000, 0, 1, 8),
    "score/vlm_judge": Needs(24_000, 0, 1, 16),
    "score/vsm": Needs(16_000, 0, 1, 16),
}
# GPU memory of painters with offloading: the forward pass, and the largest component (`model`) or no weights (`group`).
_OFFLOADED = {
    "flux_fill": {"model": 42, "group": 20},
    "flux_canny": {"model": 42, "group": 20},
    "qwen_controlnet": {"model": 61, "group": 26},
}
_UNKNOWN_LARGE = Needs(24_000, 0, 1, 24)
# Stages whose jobs take longer with more work; jobs of the others take little time, or one that is hard to foresee.
_TIMED_STAGES = ("distractors", "tokens", "heads", "scores")
# A head's weights, gradients and optimizer moments: MB of host memory, and GB on a GPU.
_HEAD_MB, _HEAD_GB = 500, 0.5
# Jobs that are expected to take less than this may share a cluster job.
_SHORT_S = 900


def needs_of(job: Job) -> Needs:
    """The needs of `job`: its step's, more memory for a large model, and 1.5 times the time that its rate predicts."""
    base = RULES[job.rule].needs
    if job.rate == JOIN:
        return Needs(8000, 60)
    if job.stage not in _TIMED_STAGES or job.rule == "summarise_scores":
        return base
    if job.gpu:
        large = LARGE.get(job.rate) or LARGE.get(job.rate.partition("/")[0]) or _UNKNOWN_LARGE
        base = replace(base, memory_mb=large.memory_mb, gpus=1, gpu_gb=max(large.gpu_gb, _model_gb(job)))
        if job.offload != "none" and job.side_by_side:
            # Its layers are loaded into host memory, and stay there until they are needed.
            waiting = _request(layout_bytes(int(job.model_gb * 1e9)))
            base = replace(base, memory_mb=max(base.memory_mb, waiting), gpu_gb=_model_gb(job))
        elif job.offload != "none":
            # Offloaded weights are in host memory.
            engine = _OFFLOADED.get(job.rate.partition("/")[0], {})
            base = replace(base, memory_mb=64_000, gpu_gb=engine.get(job.offload, base.gpu_gb))
    if job.heads:
        more = math.ceil(_HEAD_GB * job.heads) if job.gpu else 0
        base = replace(base, memory_mb=base.memory_mb + _HEAD_MB * job.heads, gpu_gb=base.gpu_gb + more)
    if not job.timed:
        return replace(base, minutes=max(base.minutes, 480))
    minutes = math.ceil(30 + 1.5 * _expected_s(job) / 60)
    # A group requests the sum of its jobs' times.
    return replace(base, minutes=minutes if is_short(job) else max(base.minutes, minutes))


def is_short(job: Job) -> bool:
    """Whether a job takes some minutes at most. Never training: any job of a pack may train the whole pack."""
    return job.timed and not job.heads and _expected_s(job) < _SHORT_S


def _expected_s(job: Job) -> float:
    rate = default_rate(job)
    return rate.start + rate.per_unit * job.units


def _model_gb(job: Job) -> int:
    """GPU memory in GB: weights that stay there with a margin, CUDA's own, and half a GB per pair of a batch."""
    if not job.model_gb:
        return 0
    pairs = math.ceil(0.5 * (job.side_by_side or 6))
    return math.ceil(1.15 * (1 - WAITING[job.offload]) * job.model_gb) + pairs + 1


def describe_too_large(jobs: Iterable[Job], card_gb: float) -> list[str]:
    """Which jobs need more GPU memory than a card has, and what would help.

    Sources, scorers and heads with the same need and the same remedy share a line.
    """
    told: dict[tuple[int, str], list[str]] = {}
    for job in jobs:
        needed, name = needs_of(job).gpu_gb, job.name.partition("/")[0]
        if needed <= card_gb or any(name in names for names in told.values()):
            continue
        ways = ("model", "group") if job.rate != JOIN and (job.stage == "distractors" or job.side_by_side) else ()
        smaller = {how: needs_of(replace(job, offload=how)) for how in ways}
        how = next((how for how, needs in smaller.items() if needs.gpu_gb <= card_gb), "")
        if how and job.side_by_side:
            slower = needs_of(replace(job, offload=how)).minutes / needs_of(job).minutes
            remedy = (
                f"ask it behind an `endpoint` (docs/scorers.md), or offload: {how} takes {smaller[how].gpu_gb} GB, "
                f"{smaller[how].memory_mb / 1000:.0f} GB of memory and {slower:.0f} times as long"
            )
        elif how:
            remedy = f"options: {{offload: {how}}} takes {smaller[how].gpu_gb} GB"
        elif job.side_by_side:
            remedy = "ask it behind an `endpoint` (docs/scorers.md), or leave it out"
        else:
            remedy = "a smaller batch_size, a larger card, or leave it out"
        told.setdefault((needed, remedy), []).append(name)
    return [
        f"{', '.join(names)}: {needed} GB of a GPU needed, the card has {card_gb:g}: {remedy}"
        for (needed, remedy), names in told.items()
    ]
