"""Stand-ins of DreamBench++: samples of the seven methods, ratings of people and of models (spec data.md 4.6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from nearid.io.images import encode_png
from nearid.io.randomness import keyed_rng
from nearid.rehearsal.pictures import draw_view
from nearid.scores.ratings import HUMANS, METHODS

SUBJECTS = {"object": 6, "live_subject_animal": 4, "live_subject_human": 4, "style": 4}
PROMPTS = 3
SIDE = 48
# Two of the sample folders carry how they were generated, as released.
FOLDERS = {method: method for method in METHODS} | {
    "ip_adapter_plus_vit_h_sdxl": "ip_adapter-plus_vit-huge_sdxl_scale_0_6",
    "emu2": "emu2_guidance_3",
}
NOISE = {"group1": 0.5, "group2": 0.5, "gpt4o": 0.4, "dino": 1.0, "clip_i": 1.5}


def keys() -> Iterator[tuple[str, int]]:
    """Subject and number of the prompt, of every pair."""
    for category, count in SUBJECTS.items():
        for number in range(count):
            for prompt in range(PROMPTS):
                yield f"{category}_{number:02d}_thing", prompt


def save_samples(folder: Path) -> None:
    """Reference and generated picture of every pair, per method."""
    for method, name in FOLDERS.items():
        for subject, prompt in keys():
            kept = _quality(method, subject, prompt) > 2
            reference = draw_view(subject, 0, SIDE)[0]
            generated = draw_view(subject, 1 + prompt, SIDE, instance=0 if kept else 1)[0]
            for side, picture in (("src_image", reference), ("tgt_image", generated)):
                path = folder / name / side / subject / f"{prompt}_0.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encode_png(picture))


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
