"""Stand-ins of DreamBench++: samples of the seven methods, ratings of people and of models (docs/protocol.md 4.6)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from nearid.io.randomness import keyed_rng
from nearid.rehearsal.pictures import draw_view, to_jpeg
from nearid.scores.ratings import HUMANS, METHODS

SUBJECTS = {"object": 6, "live_subject_animal": 4, "live_subject_human": 4, "style": 4}
PROMPTS = 3
SIDE = 48
SETTINGS = "gs7_5_step100_seed42_torch_float16"
# In names of samples' folders, two of the methods are spelled out.
SPELLED = {
    "ip_adapter_plus_vit_h_sdxl": "ip_adapter-plus_vit-huge_sdxl",
    "ip_adapter_vit_g_sdxl": "ip_adapter_vit-giant_sdxl",
}
# Noise of each rater around the common quality, by the release's folders.
NOISE = {
    "data_gpt_rating/concept_preservation_full": 0.4,
    "data_dino_rating": 1.0,
    "data_clipi_rating": 1.5,
    "data_backbone_rating": 1.2,
    "data_backbone_maphead_rating": 1.3,
    "data_vsm_rating": 1.1,
    "data_qwen3vl_30b_rating": 0.8,
    "data_nearid_rating": 0.6,
}
PEOPLE = 0.5


def keys() -> Iterator[tuple[str, int]]:
    """Subject and number of the prompt, for every pair."""
    for category, count in SUBJECTS.items():
        for number in range(count):
            for prompt in range(PROMPTS):
                yield f"{category}_{number:02d}_thing", prompt


def save_samples(folder: Path) -> None:
    """Write the archive with reference, generated picture and prompt of every pair, in a folder for each method."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "samples.zip", "w") as archive:
        for path, content in sorted(_samples().items()):
            archive.writestr(zipfile.ZipInfo(path), content)


def save_all_ratings(folder: Path) -> None:
    """Write the ratings of both groups of annotators, 0 to 4, and of every model in the release."""
    for group in ("group1", "group2"):
        for method in METHODS:
            _save(folder / HUMANS / group / f"{method}-cp.json", method, group, PEOPLE, whole=True)
    for rater in NOISE:
        save_ratings(folder / rater, rater)


def save_ratings(folder: Path, rater: str) -> None:
    """Write the ratings of one model; `rater` decides how near they are to the people's."""
    for method in METHODS:
        _save(folder / f"{method}.json", method, rater, NOISE.get(rater, 1.0), whole=False)


def _samples() -> dict[str, bytes]:
    found = {}
    for method in METHODS:
        run = f"samples/{SPELLED.get(method, method)}_{SETTINGS}"
        for subject, prompt in keys():
            kept = _quality(method, subject, prompt) > 2
            reference = draw_view(subject, 0, SIDE)[0]
            generated = draw_view(subject, 1 + prompt, SIDE, instance=0 if kept else 1)[0]
            found[f"{run}/src_image/{subject}/{prompt}_0.jpg"] = to_jpeg(reference)
            found[f"{run}/tgt_image/{subject}/{prompt}_0.jpg"] = to_jpeg(generated)
            found[f"{run}/text/{subject}/{prompt}_0.txt"] = f"a thing in place {prompt}".encode()
    return found


def _quality(method: str, subject: str, prompt: int) -> float:
    return float(keyed_rng("quality", method, subject, prompt).uniform(0, 4))


def _save(path: Path, method: str, rater: str, noise: float, whole: bool) -> None:
    """Write one file: people rate in whole numbers, and keys of models end with the number of the picture."""
    ratings = {}
    for subject, prompt in keys():
        rng = keyed_rng("rating", rater, method, subject, prompt)
        value = min(4.0, max(0.0, _quality(method, subject, prompt) + rng.normal(0, noise)))
        ratings[f"{subject}-{prompt}" if whole else f"{subject}-{prompt}_0"] = (
            round(value) if whole else round(value, 3)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ratings))
