"""DreamBench++ rating files: methods, keys, and the two layouts of the release (docs/protocol.md 4.6)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from nearid.dreambench import HUMANS, METHODS
from nearid.errors import UserError
from nearid.io.sheets import read_text

CONCEPT = "concept_preservation_full"
"""Folder of GPT-4o's ratings of concept preservation; it was asked other questions too."""
SCORED = re.compile(r"data_(\w+)_rating")
REMEDY = "take the file from the release again, or score the method's images again"

Ratings = Mapping[str, float]
Humans = Mapping[str, tuple[Ratings, Ratings]]


def canonical_key(key: str) -> str:
    """The form of a key that files of all origins share: no image index, one name for the cube."""
    return re.sub(r"_\d+$", "", key).replace("rubik's_cube", "magic_cube")


def subject_of(key: str) -> str:
    """The reference image of a canonical key: the key without its prompt."""
    return key.rpartition("-")[0]


def method_of(folder: str) -> str | None:
    """The method that made a folder's samples: the folder's name starts with the method's, in one of two spellings."""
    name = folder.lower().replace("-", "_").replace("vit_huge", "vit_h").replace("vit_giant", "vit_g")
    return next((method for method in METHODS if name.startswith(method)), None)


def read_ratings(path: Path) -> dict[str, float]:
    """Scores of one method by canonical key.

    Raises:
        UserError: the file is missing or no JSON object of numbers, or two keys become one (the message names both).
    """
    try:
        entries = json.loads(read_text(path), object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise UserError(path, f"no JSON ({error})", "a JSON object of key: number", REMEDY) from error
    # The hook turns an object into a list of pairs; the values must be plain numbers.
    if not isinstance(entries, list) or not all(isinstance(entry, tuple) for entry in entries):
        raise UserError(path, "no JSON object", "a JSON object of key: number", REMEDY)
    first: dict[str, str] = {}
    ratings: dict[str, float] = {}
    for key, value in entries:
        canonical = canonical_key(key)
        if canonical in ratings:
            raise UserError(path, f"{first[canonical]!r} and {key!r}, both {canonical!r}", "one key per pair", REMEDY)
        # Compared before the conversion: an integer of hundreds of digits would overflow a float.
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 < value < 1e300:
            raise UserError(f"{path}, key {key!r}", repr(value), "a finite number", REMEDY)
        first[canonical], ratings[canonical] = key, float(value)
    return ratings


def read_methods(folder: Path) -> dict[str, dict[str, float]]:
    """Ratings of all seven methods from `<method>.json` or `<method>-cp.json` in `folder`, or one level below.

    Raises:
        UserError: a method's file is missing, there twice, or damaged.
    """
    found = {}
    folder = folder / CONCEPT if (folder / CONCEPT).is_dir() else folder
    for method in METHODS:
        paths = [path for path in (folder / f"{method}.json", folder / f"{method}-cp.json") if path.is_file()]
        if len(paths) > 1:
            raise UserError(folder, f"two files of {method}", "one", f"remove {paths[0].name} or {paths[1].name}")
        found[method] = read_ratings(paths[0] if paths else folder / f"{method}.json")
    return found


def read_human_ratings(folder: Path) -> dict[str, tuple[Ratings, Ratings]]:
    """Concept-preservation ratings of both groups of annotators per method, from `group1/` and `group2/`."""
    first, second = (read_methods(folder / group) for group in ("group1", "group2"))
    return {method: (first[method], second[method]) for method in METHODS}


def read_release(folder: Path) -> tuple[dict[str, tuple[Ratings, Ratings]], dict[str, dict[str, dict[str, float]]]]:
    """The humans' ratings and those of every `data_<name>_rating` of a release's folder, by name.

    Raises:
        UserError: a file is missing or damaged, or has other keys than the rest; the message names the key.
    """
    humans = read_human_ratings(folder / HUMANS)
    names = {path: SCORED.fullmatch(path.name) for path in sorted(folder.iterdir()) if path.is_dir()}
    scored = {match[1]: read_methods(path) for path, match in names.items() if match and match[1] != "human"}
    files: dict[str, Ratings] = {
        f"data_{name}_rating, {method}": ratings
        for name, methods in scored.items()
        for method, ratings in methods.items()
    }
    files |= {
        f"humans, {method}, group {n + 1}": group for method, groups in humans.items() for n, group in enumerate(groups)
    }
    check_keys({f"{folder}: {name}": ratings for name, ratings in files.items()})
    return humans, scored


def check_keys(files: Mapping[str, Ratings]) -> None:
    """Check that all files have the same keys.

    Raises:
        UserError: a file's keys differ from those of most others; it names the file and its first odd key.
    """
    expected = Counter(frozenset(ratings) for ratings in files.values()).most_common(1)[0][0]
    for name, ratings in files.items():
        missing, extra = sorted(expected - set(ratings)), sorted(set(ratings) - expected)
        if missing or extra:
            odd = [f"no {key!r}" for key in missing[:1]] + [f"the extra {key!r}" for key in extra[:1]]
            raise UserError(
                f"DreamBench++ ratings, {name}",
                f"{' and '.join(odd)} ({len(missing)} keys missing, {len(extra)} extra)",
                f"the {len(expected)} keys of the other files",
                REMEDY,
            )
