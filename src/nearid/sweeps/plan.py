"""The heads of a sweep: every combination of ablations, seeds and values, as an overlay."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from nearid.config import load, results_folder
from nearid.config.types import Config
from nearid.errors import UserError
from nearid.io.files import write_json, write_text
from nearid.io.hashing import hash_json
from nearid.io.paths import below
from nearid.sweeps.sweep import Sweep, open_sweep

Combination = tuple[str, str, Any]
"""Id of a head, the choices that made it as JSON, and its entry."""


def plan_sweep(
    name: str,
    overlays: Sequence[Path],
    ablations: Sequence[str] = (),
    seeds: Sequence[int] = (),
    overrides: Mapping[str, Sequence[Any]] | None = None,
) -> Sweep:
    """Write the overlay of a sweep: every combination of ablations, seeds and overrides is a head.

    Args:
        name: of the sweep.
        overlays: on `config.yaml`.
        ablations: those to vary; by default all selected ones.
        seeds: of the heads; by default the config's.
        overrides: values by dotted path in an ablation's entry, e.g. `training.learning_rate`.

    Raises:
        UserError: an unknown ablation, a path or value that the schema does not know.
    """
    config = load(*overlays)
    bases = list(ablations) or config["select"]["ablations"]
    for base in bases:
        if base not in config["ablations"]:
            known = ", ".join(config["ablations"])
            raise UserError(f"sweep {name}", f"ablation {base}", f"one of {known}", "check the id")
    axes = [[("seed", seed) for seed in seeds]] if seeds else []
    axes += [[(path, value) for value in values] for path, values in (overrides or {}).items()]
    heads = name_heads(_combine(config, bases, axes), config["ablations"] if axes else ())
    folder = below(results_folder(config), "sweeps", name)
    overlay = yaml.safe_dump(_overlay(config, heads) if axes else {}, sort_keys=False)
    write_text(folder / "overlay.yaml", "# Made by `nearid sweep run`.\n" + overlay)
    load(*overlays, folder / "overlay.yaml")
    write_json(folder / "sweep.json", {"overlays": [str(path) for path in overlays], "ablations": list(heads)})
    return open_sweep(folder)


def spell(base: str, words: Sequence[str]) -> str:
    """A readable id: a minus becomes a word, other punctuation `_`."""
    text = "_".join([base, *(re.sub(r"(^|[\s\[,e])-(?=[\d.])", r"\1minus ", word) for word in words)])
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def name_heads(made: Sequence[Combination], taken: Iterable[str]) -> dict[str, Any]:
    """Entries by id. An id that several combinations, or one and an ablation of the config, would share gets a hash."""
    choices: dict[str, set[str]] = {name: {""} for name in taken}
    for name, choice, _ in made:
        choices.setdefault(name, set()).add(choice)
    return {
        name if len(choices[name]) == 1 else f"{name}_{hash_json(choice)[:8]}": entry for name, choice, entry in made
    }


def _combine(config: Config, bases: Sequence[str], axes: Sequence[Sequence[tuple[str, Any]]]) -> list[Combination]:
    made = []
    for base in bases:
        for choice in itertools.product(*axes):
            entry = copy.deepcopy(dict(config["ablations"][base]))
            for path, value in choice:
                _put(entry, path, value)
            words = [f"{path.rpartition('.')[2]} {value}" for path, value in choice]
            entry["display"] = ", ".join([entry["display"], *words])
            made.append((spell(base, words), json.dumps([base, choice]), entry))
    return made


def _overlay(config: Config, heads: Mapping[str, Any]) -> dict[str, Any]:
    """An overlay that adds the heads, and a scorer for each, to what the config selects."""
    chosen = config["select"]
    return {
        "ablations": dict(heads),
        "scorers": {
            head: {"display": entry["display"], "kind": "head", "ablation": head} for head, entry in heads.items()
        },
        "select": {
            "ablations": [*chosen["ablations"], *(head for head in heads if head not in chosen["ablations"])],
            "scorers": [*chosen["scorers"], *(head for head in heads if head not in chosen["scorers"])],
        },
    }


def _put(entry: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        entry = entry.setdefault(key, {})
    entry[last] = value
