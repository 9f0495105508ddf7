"""Agreement with human ratings on DreamBench++, from its rating files: pure functions (spec data.md 4.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nearid.errors import UserError
from nearid.io.files import read_json
from nearid.scores.correlations import fisher_mean, pearson

METHODS = (
    "textual_inversion_sd",
    "dreambooth_sd",
    "dreambooth_lora_sdxl",
    "blip_diffusion",
    "emu2",
    "ip_adapter_plus_vit_h_sdxl",
    "ip_adapter_vit_g_sdxl",
)
CATEGORIES = ("object", "live_subject_animal", "live_subject_human", "style")
LIMIT = 0.9999

Ratings = dict[str, float]


@dataclass(frozen=True)
class Alignment:
    """Agreement on one category.

    Attributes:
        methods: per generation method the mean of r with the two groups of annotators, and half their distance (0
            where there is one r only).
        m_h: Fisher-z mean over the methods.
        error: standard error over the methods.
        pairs: rated pairs per method.
    """

    methods: dict[str, tuple[float, float]]
    m_h: float
    error: float
    pairs: int


def canonical_key(key: str) -> str:
    """The key under which files of all origins meet: no image index, one name for the cube."""
    return re.sub(r"_\d+$", "", key).replace("rubik's_cube", "magic_cube")


def read_ratings(path: Path) -> Ratings:
    """Scores of one method by canonical key.

    Raises:
        UserError: the file is missing or no JSON object of numbers, or two keys become one.
    """
    remedy = "take the file from the release again"
    try:
        entries = {key: float(value) for key, value in read_json(path).items()}
    except FileNotFoundError:
        raise UserError(path, "no such file", "a rating file", "mend the path of the ratings") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(path, f"no ratings ({error})", "a JSON object of key: number", remedy) from error
    ratings = {canonical_key(key): value for key, value in entries.items()}
    if len(ratings) != len(entries):
        raise UserError(path, f"{len(entries)} keys for {len(ratings)} pairs", "one key per pair", remedy)
    return ratings


def read_human_ratings(folder: Path) -> dict[str, tuple[Ratings, Ratings]]:
    """Concept-preservation ratings of both groups of annotators per method, from `group1/` and `group2/`."""
    return {
        method: (
            read_ratings(folder / "group1" / f"{method}-cp.json"),
            read_ratings(folder / "group2" / f"{method}-cp.json"),
        )
        for method in METHODS
    }


def align(
    scores: Mapping[str, Ratings], humans: Mapping[str, tuple[Ratings, Ratings]], category: str = "object"
) -> Alignment:
    """Agreement of a scorer with the two groups of annotators; each r is rounded to 4 decimals as in the release.

    Raises:
        UserError: a method is missing, or its keys are not those that the humans rated.
    """
    values = {}
    for method, groups in humans.items():
        r = [round(_correlate(scores.get(method, {}), group, category, method), 4) for group in groups]
        values[method] = (sum(r) / 2, abs(r[0] - r[1]) / 2)
    return _average(values, humans, category)


def align_humans(humans: Mapping[str, tuple[Ratings, Ratings]], category: str = "object") -> Alignment:
    """Agreement of one group of annotators with the other: what a scorer can hope for."""
    values = {method: (_correlate(*groups, category, method), 0.0) for method, groups in humans.items()}
    return _average(values, humans, category)


def _correlate(scores: Ratings, ratings: Ratings, category: str, method: str) -> float:
    if scores.keys() != ratings.keys():
        odd = sorted(scores.keys() ^ ratings.keys())
        raise UserError(
            f"DreamBench++ ratings of {method}",
            f"{len(scores)} scores for {len(ratings)} rated pairs, {len(odd)} unmatched, first {odd[0]!r}",
            "a score for every rated pair and no other",
            "score the method's images again",
        )
    keys = sorted(key for key in ratings if key.startswith(f"{category}_"))
    if not keys:
        raise UserError(
            f"DreamBench++ ratings of {method}", f"no pair of {category}", "some", "choose another category"
        )
    return pearson(np.array([scores[key] for key in keys]), np.array([ratings[key] for key in keys]))


def _average(
    values: dict[str, tuple[float, float]], humans: Mapping[str, tuple[Ratings, Ratings]], category: str
) -> Alignment:
    r = np.array([value for value, _ in values.values()])
    first = next(iter(humans.values()))[0]
    pairs = sum(key.startswith(f"{category}_") for key in first)
    return Alignment(values, fisher_mean(r, LIMIT), float(r.std(ddof=1) / np.sqrt(len(r))), pairs)
