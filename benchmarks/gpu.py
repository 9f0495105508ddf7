"""All that runs on a GPU, each against the plain way in the same process: `make bench-gpu` (half an hour at most).

Models have their real sizes and random weights: nothing is downloaded. Painting is measured with few steps, and what a
step takes is counted up to the paper's. The result goes to `benchmarks/results/gpu_<card>.json`, with card and driver,
and its rates to `nearid plan` (`src/nearid/workflow/measured.json`). `--small` runs the same code on tiny models on any
machine, measures nothing that counts, and writes only where `--output` says.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import extraction
import numpy as np
import packs as packs_benchmark
import painting
import torch
from timing import describe_machine
from transformers import SiglipVisionConfig

from nearid.config.settings.scores import LocalJudge
from nearid.distributed.ranks import join
from nearid.heads import objectives, packs
from nearid.heads.engine import Engine, Learners
from nearid.heads.feeds import TokenPool, load_batches
from nearid.heads.map_head import MAPHead
from nearid.heads.tuples import PADDING, Tuples
from nearid.io.images import encode_png
from nearid.rehearsal.judges import save_judge
from nearid.scores.judging.local import Judge
from nearid.scores.scorers import Shown
from nearid.tokens import TokenStore
from nearid.tokens.collections import Picture
from nearid.tokens.shard import KEY
from nearid.tokens.writer import write_shard
from nearid.workflow.rates import MEASURED

RESULTS = Path(__file__).with_name("results")
# Few steps, of which the second number has more: the difference is what a step takes.
STEPS = (4, 8)
HEADS, TUPLES, TRAINED = 19, 128, 20
TOKENS, PIXELS_TOKENS_BYTES = 729, 2 * 729 * 1152
# Qwen3-VL 4B: text and vision (its config.json, from public copies).
JUDGE = {
    "text": dict(
        hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8,
        head_dim=128,
    ),
    "vision": dict(depth=24, hidden_size=1024, intermediate_size=4096, num_heads=16, out_hidden_size=2560),
}  # fmt: skip


def main() -> int:
    """Measure part by part while there is time; say where the result is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="tiny models, on any machine: only to see that it runs")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--minutes", type=float, default=30.0, help="no part is begun later")
    parser.add_argument("--output", type=Path, help="JSON file for the result, in place of the results' folder")
    arguments = parser.parse_args()
    if not (torch.cuda.is_available() or arguments.small):
        print(
            "no GPU that PyTorch can use: nothing to measure. Run it where there is one (`nearid doctor` says what is\n"
            "wrong with one that is not used); on a cluster: srun --gres=gpu:1 --cpus-per-task=8 --mem=64G --time=40\n"
            "make bench-gpu. To see that it runs at all: python benchmarks/gpu.py --small",
            file=sys.stderr,
        )
        return 2
    start, found = (
        time.monotonic(),
        {"card": card(), "driver": driver(), "models": "tiny" if arguments.small else "real sizes"},
    )
    found["rates"] = rates = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.parts:
            if time.monotonic() - start > 60 * arguments.minutes:
                found[name] = "left out: no time"
                continue
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                found[name] = PARTS[name](Path(folder), arguments.small, rates)
            except torch.OutOfMemoryError as error:
                found[name] = f"does not fit: {str(error).splitlines()[0]}"
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    found["minutes"] = round((time.monotonic() - start) / 60, 1)
    found["machine"] = describe_machine("torch", "transformers", "diffusers", "deepspeed")
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="")
    target = arguments.output or (None if arguments.small else RESULTS / f"gpu_{found['card'].replace(' ', '_')}.json")
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    if not arguments.small:
        MEASURED.write_text(json.dumps({"card": found["card"], "rates": rates}, indent=2) + "\n")
        print(f"written: {target}; `nearid plan` reads {MEASURED}", file=sys.stderr)
    return 0


def paint(_: Path, small: bool, rates: dict[str, float]) -> dict[str, Any]:
    """Every source at the paper's steps, with the config's batch size, and as a bare call of diffusers' pipeline."""
    found = {}
    for name in painting.SOURCES:
        source = painting.step_settings("inpaint_shard", painting.load(), source=name)["source"]
        size, steps = source["options"].get("batch_size", 1), source["options"]["steps"]
        few, more = (2, 3) if small else [min(steps, count) for count in STEPS]
        try:
            each = [painting.measure(name, small, 1 if small else 2, count, [size]) for count in (few, more)]
        except torch.OutOfMemoryError as error:
            found[name] = f"does not fit: {str(error).splitlines()[0]}"
            continue
        timed = [one["batch_sizes"][size] for one in each]
        if "does not fit" in timed:
            found[name] = "does not fit"
            continue
        seconds = {}
        for way in ("seconds_per_image", "bare_seconds_per_image"):
            first, second = (one[way] for one in timed)
            seconds[way] = round(second + (steps - more) * max(0.0, second - first) / max(1, more - few), 4)
        found[name] = seconds | {"batch_size": size, "steps": steps, "peak_gb": timed[-1]["peak_gb"]}
        rates[f"{source['engine']}/{source['working_px']}"] = seconds["seconds_per_image"]
    return found


def extract(folder: Path, small: bool, rates: dict[str, float]) -> dict[str, Any]:
    """Extraction, with eight threads that decode, against a loop of the model alone."""
    found = extraction.measure(folder, small, 16 if small else 2048, 8, 4 if small else 64, None, False)
    rates["extract/gpu"] = rates["train_online/gpu"] = 1 / (found["images_per_s"] * PIXELS_TOKENS_BYTES)
    rates["embed/gpu"] = 1 / found["images_per_s"]
    return found


def train(folder: Path, small: bool, rates: dict[str, float]) -> dict[str, Any]:
    """Steps of a pack of 19: as in training, with tokens that are there already, reading alone, and the plain way."""
    tiny = SiglipVisionConfig(hidden_size=48, intermediate_size=64, num_attention_heads=4)
    config = tiny if small else packs_benchmark.CONFIG
    heads, samples, steps = (2, 4, 2) if small else (HEADS, TUPLES, TRAINED)
    dim, tokens = config.hidden_size, 16 if small else TOKENS
    rng = np.random.default_rng(0)
    keys = np.array([(id, slot, "full") for id in range(2 * samples) for slot in range(4)], KEY)
    blocks = (rng.standard_normal((4, tokens, dim), np.float32).astype(np.float16) for _ in range(2 * samples))
    attributes = {"backbone": "random", "weights_hash": "", "preprocess_hash": "", "content_key": "random"}
    write_shard(folder / "pack.h5", keys, blocks, (tokens, dim), attributes)
    pool = TokenPool({"positives": TokenStore([folder / "pack.h5"])})
    drawn = [_tuples(rng.permutation(2 * samples)[:samples]) for _ in range(steps + 1)]
    ranks, training = join(), packs_benchmark.training_in_batches(samples)
    members = []
    for _ in range(heads):
        head = MAPHead(config)
        engine = Engine(head, training, 10**6, ranks)
        members.append(
            SimpleNamespace(head=head, engine=engine, objective=objectives.create("nearid"), training=training)
        )
    engines = [member.engine for member in members]
    learners, device = Learners(engines), engines[0].device

    def step(batch: Any) -> None:
        parts = packs.evaluate(members, batch)
        norms = learners.receive(engines, packs.differentiate(members, [own.loss for own in parts]))
        packs.average([{"loss": own.loss, "norm": norm} for own, norm in zip(parts, norms, strict=True)], ranks)
        learners.step(engines)

    whole = _per_step(load_batches(pool, drawn, samples, device=device), step)
    read = _per_step(load_batches(pool, drawn, samples), lambda batch: None)
    (resident,) = load_batches(pool, drawn[:1], samples, device=device)
    alone = _per_step([resident] * (steps + 1), step)
    nbytes = resident.tokens.nbytes
    rates["train/gpu"] = whole / nbytes / (1 + 0.05 * heads)
    plain = _per_step([resident] * 3, _plain_step(config, members[0].objective, device)) * heads
    return {
        "heads": heads,
        "images": len(resident.tokens),
        "step_s": round(whole, 4),
        "reading_s": round(read, 4),
        "arithmetic_s": round(alone, 4),
        "times_the_larger": round(whole / max(read, alone), 2),
        "transformers_heads_one_by_one_s": round(plain, 4),
    }


def _tuples(rows: np.ndarray) -> Tuples:
    images = rows[:, None] * 4 + np.array([0, 1, -1, 2, 3, -1])
    images[:, [2, 5]] = PADDING
    return Tuples.whole(images)


def _per_step(batches: Any, work: Callable[[Any], None]) -> float:
    """Seconds for each but the first, which warms up."""
    start, count = 0.0, -1
    for batch in batches:
        work(batch)
        if count < 0:
            _finish()
            start = time.perf_counter()
        count += 1
    _finish()
    return (time.perf_counter() - start) / max(1, count)


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _plain_step(config: SiglipVisionConfig, objective: Any, device: torch.device) -> Callable[[Any], None]:
    theirs = packs_benchmark.SiglipMultiheadAttentionPoolingHead(config).to(device)
    optimizer = torch.optim.AdamW(theirs.parameters(), fused=True)

    def step(batch: Any) -> None:
        vectors = theirs(batch.tokens.float())[batch.numbers["slots"]]
        valid = batch.numbers["valid"]
        loss = objective(vectors[:, 0], vectors[:, 1:3], vectors[:, 3:], valid[:, 1:3], valid[:, 3:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        loss.item()

    return step


def judge(folder: Path, small: bool, rates: dict[str, float]) -> dict[str, Any]:
    """Pairs that a judge of 4B answers in a second, several side by side and one by one."""
    save_judge(folder / "judge", mixture=False, seed=0)
    entry = LocalJudge(kind="vlm_judge", model=str(folder / "judge"), max_new_tokens=4 if small else 512, batch_size=32)
    found: dict[str, Any] = {"model": "tiny" if small else "Qwen3-VL 4B, random"}
    asked = Judge(entry)
    if not small:
        asked.__dict__["_parts"] = _large_judge(asked)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (16, 16, 3), np.uint8).repeat(32, 0).repeat(32, 1) for _ in range(8)]
    pictures = [Picture(f"picture {id}", id, 0, encode_png(image), None) for id, image in enumerate(images)]
    shown = [Shown("positives", picture, "full") for picture in pictures]
    for size in (1, 2) if small else (1, 6, 32):
        pairs = [(shown[number % 8], shown[(number + 1) % 8]) for number in range(size)]
        list(asked.answer(pairs[:1]))
        _finish()
        start = time.perf_counter()
        list(asked.answer(pairs))
        _finish()
        found[f"pairs_per_s_by_{size}"] = round(size / (time.perf_counter() - start), 3)
    rates["score/vlm_judge"] = 1 / max(value for key, value in found.items() if key.startswith("pairs"))
    return found


def _large_judge(judge: Judge) -> tuple[Any, Any, Any]:
    """A model of real size that never ends an answer, and the tiny one's words."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    from nearid.rehearsal.judges import SPECIAL

    tiny, processor, tokenizer = judge._parts
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id")
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(SPECIAL[3:]), strict=True))
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]}
    config = Qwen3VLConfig(
        text_config=JUDGE["text"] | {"vocab_size": 151_936, "rope_parameters": rope},
        vision_config=JUDGE["vision"] | {"patch_size": 16, "deepstack_visual_indexes": [5, 11, 17]},
        video_token_id=0, **ids,
    )  # fmt: skip
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(tiny.device):
            model: Any = Qwen3VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    processor.size = {"shortest_edge": 256 * 256, "longest_edge": 512 * 512}
    return model.eval(), processor, _Words(tokenizer)


class _Words:
    """A tokenizer whose answers are nothing: the large model's words are not in it."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __call__(self, *texts: Any, **options: Any) -> Any:
        return self._own(*texts, **options)

    def batch_decode(self, rows: Any, **_: Any) -> list[str]:
        return [""] * len(rows)


def card() -> str:
    """Name of the GPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def driver() -> str:
    """Version of NVIDIA's driver; empty where none says it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError):
        return ""


PARTS: dict[str, Callable[[Path, bool, dict[str, float]], dict[str, Any]]] = {
    "extraction": extract,
    "training": train,
    "judges": judge,
    "painting": paint,
}


if __name__ == "__main__":
    sys.exit(main())
