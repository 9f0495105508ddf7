"""What a job requests from a cluster: its step's needs (`nearid.workflow.steps`), raised by the amount of its work."""

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
    """MB of a job that takes `counted` bytes beside its libraries."""
    return 2000 * math.ceil((RUNTIME + counted) / 2e9)


# Bytes of the paper's: a batch of 64 images of so400m, its tokens, the largest shard of pictures (.6 MB each).
_IMAGE = 729 * 1152 * 2
_EXTRACTION = _request(extraction_bytes(64 * 3 * 384 * 384, 64 * _IMAGE, 2826 * 600_000, workers=8))
# Two batches of 128 tuples are held, and those of 16 samples of validation.
_TRAINING = _request(training_bytes(128 * 6 * _IMAGE, 2 * 16 * 6 * _IMAGE, held=2))
# Where a large model runs, by the rate of its work: memory and GPU memory. Weights pass through the machine's memory
# file by file, as safetensors are mapped; SDXL is cast from float32. A painter's GPU memory is its weights and the
# largest pass of its batch without fused attention: FLUX 24 GB and 18 for four images of 1024 pixels, Qwen-Image 45 and
# 20 for two of 1328, SDXL's VAE in float32 2.7 an image of 1024.
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
# GPU memory of painters whose parts, or layers, wait outside the GPU: the largest part, or none of it, and the pass.
_OFFLOADED = {
    "flux_fill": {"model": 42, "group": 20},
    "flux_canny": {"model": 42, "group": 20},
    "qwen_controlnet": {"model": 61, "group": 26},
}
_UNKNOWN_LARGE = Needs(24_000, 0, 1, 24)
# The stages whose jobs take time by their size; what the others take is next to nothing, or hardly known before.
_TIMED_STAGES = ("distractors", "tokens", "heads", "scores")
# A head's weights, gradients and moments: MB of memory, and GB on a GPU.
_HEAD_MB, _HEAD_GB = 500, 0.5
# A job that is expected to take less may share one of the cluster with others.
_SHORT_S = 900


def needs_of(job: Job) -> Needs:
    """The needs of `job`: by its step; more where a large model runs, and time by its rate, half as much again."""
    base = RULES[job.rule].needs
    if job.rate == JOIN:
        return Needs(8000, 60)
    if job.stage not in _TIMED_STAGES or job.rule == "summarise_scores":
        return base
    if job.gpu:
        large = LARGE.get(job.rate) or LARGE.get(job.rate.partition("/")[0]) or _UNKNOWN_LARGE
        base = replace(base, memory_mb=large.memory_mb, gpus=1, gpu_gb=max(large.gpu_gb, _model_gb(job)))
        if job.offload != "none" and job.side_by_side:
            # Its layers are laid out in the machine's memory, and wait there.
            waiting = _request(layout_bytes(int(job.model_gb * 1e9)))
            base = replace(base, memory_mb=max(base.memory_mb, waiting), gpu_gb=_model_gb(job))
        elif job.offload != "none":
            # What waits does so in the machine's memory.
            engine = _OFFLOADED.get(job.rate.partition("/")[0], {})
            base = replace(base, memory_mb=64_000, gpu_gb=engine.get(job.offload, base.gpu_gb))
    if job.heads:
        more = math.ceil(_HEAD_GB * job.heads) if job.gpu else 0
        base = replace(base, memory_mb=base.memory_mb + _HEAD_MB * job.heads, gpu_gb=base.gpu_gb + more)
    if not job.timed:
        return replace(base, minutes=max(base.minutes, 480))
    minutes = math.ceil(30 + 1.5 * _expected_s(job) / 60)
    # A group asks for the time of all its jobs, one after the other.
    return replace(base, minutes=minutes if is_short(job) else max(base.minutes, minutes))


def is_short(job: Job) -> bool:
    """Whether a job takes some minutes at most; never training, of which any of a pack may do all the work."""
    return job.timed and not job.heads and _expected_s(job) < _SHORT_S


def _expected_s(job: Job) -> float:
    rate = default_rate(job)
    return rate.start + rate.per_unit * job.units


def _model_gb(job: Job) -> int:
    """GB on a GPU: the weights that stay there, with room, CUDA's own, and half a GB for each pair side by side."""
    if not job.model_gb:
        return 0
    pairs = math.ceil(0.5 * (job.side_by_side or 6))
    return math.ceil(1.15 * (1 - WAITING[job.offload]) * job.model_gb) + pairs + 1


def describe_too_large(jobs: Iterable[Job], card_gb: float) -> list[str]:
    """What of `jobs` needs more GPU memory than a card has, and what would help.

    Sources, scorers and heads for which the same holds share a line.
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
