"""Stand-ins of DreamBench++: samples of the seven methods, ratings of people and of models (spec data.md 4.6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from nearid.io.randomness import keyed_rng
from nearid.rehearsal.pictures import draw_view, to_jpeg
from nearid.scores.ratings import HUMANS, METHODS

SUBJECTS = {"object": 6, "live_subject_animal": 4, "live_subject_human": 4, "style": 4}
PROMPTS = 3
SIDE = 48
SETTINGS = "gs7_5_step100_seed42_torch_float16"
# The folders of samples spell two of the methods in full.
SPELLED = {
    "ip_adapter_plus_vit_h_sdxl": "ip_adapter-plus_vit-huge_sdxl",
    "ip_adapter_vit_g_sdxl": "ip_adapter_vit-giant_sdxl",
}
NOISE = {"group1": 0.5, "group2": 0.5, "gpt4o": 0.4, "dino": 1.0, "clip_i": 1.5}


def keys() -> Iterator[tuple[str, int]]:
    """Subject and number of the prompt, of every pair."""
    for category, count in SUBJECTS.items():
        for number in range(count):
            for prompt in range(PROMPTS):
                yield f"{category}_{number:02d}_thing", prompt


def save_samples(folder: Path) -> None:
    """Reference, generated picture and prompt of every pair, in a folder for each method and how it generated."""
    for method in METHODS:
        run = folder / "samples" / f"{SPELLED.get(method, method)}_{SETTINGS}"
        for subject, prompt in keys():
            kept = _quality(method, subject, prompt) > 2
            reference = draw_view(subject, 0, SIDE)[0]
            generated = draw_view(subject, 1 + prompt, SIDE, instance=0 if kept else 1)[0]
            files = {
                f"src_image/{subject}/{prompt}_0.jpg": to_jpeg(reference),
                f"tgt_image/{subject}/{prompt}_0.jpg": to_jpeg(generated),
                f"text/{subject}/{prompt}_0.txt": f"a thing in place {prompt}".encode(),
            }
            for name, content in files.items():
                (run / name).parent.mkdir(parents=True, exist_ok=True)
                (run / name).write_bytes(content)


def save_human_ratings(folder: Path) -> None:
    """Both groups of annotators, 0 to 4."""
    for group in ("group1", "group2"):
        for method in METHODS:
            _save(folder / HUMANS / group / f"{method}-cp.json", method, group, whole=True)


def save_ratings(folder: Path, rater: str) -> None:
    """Ratings of one model; `rater` decides how near they are to the people's."""
    for method in METHODS:
        _save(folder / f"{method}.json", method, rater, whole=False)


def _quality(method: str, subject: str, prompt: int) -> float:
    return float(keyed_rng("quality", method, subject, prompt).uniform(0, 4))


def _save(path: Path, method: str, rater: str, whole: bool) -> None:
    ratings = {}
    for subject, prompt in keys():
        rng = keyed_rng("rating", rater, method, subject, prompt)
        value = min(4.0, max(0.0, _quality(method, subject, prompt) + rng.normal(0, NOISE.get(rater, 1.0))))
        ratings[f"{subject}-{prompt}"] = round(value) if whole else round(value, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ratings))
