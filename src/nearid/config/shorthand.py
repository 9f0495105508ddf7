"""Expands what a config need not say because it follows from the rest: once, for all that read the config."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nearid.config.facts import PLACES, known_download
from nearid.config.rows import FIGURES, PAPER_ROWS, TABLES
from nearid.config.steps import BENCHMARKS
from nearid.config.types import MutableConfig

# Keys that a head's scorer takes from the head, and keys of a table or figure that depend on what runs.
_INHERITED = ("display", "choice", "shown_in")
_ROWS = ("scorers", "ablations")


def write_out_entries(config: MutableConfig) -> None:
    """Fill in what entries take from others. The schema is checked afterwards: malformed entries are left as they are.

    An entry with several seeds becomes a head for each. Each head becomes a scorer of the same id. A scorer with the id
    of a row of the paper is compared with that row. Known downloads get their place, and the paper's tables and figures
    their defaults.
    """
    sections = [config.setdefault(name, {}) for name in ("ablations", "scorers", "downloads", "paper")]
    if not all(isinstance(section, dict) for section in sections):
        return
    _write_out_seeds(config)
    ablations, scorers, downloads, paper = config["ablations"], *sections[1:]
    for name, ablation in ablations.items():
        scorer = scorers.setdefault(name, {})
        is_head = isinstance(scorer, dict) and scorer.get("kind", "head") == "head" and "path" not in scorer
        if is_head and isinstance(ablation, dict):
            inherited = {key: ablation[key] for key in _INHERITED if key in ablation}
            _fill(scorer, {**inherited, "kind": "head", "ablation": name})
    for name, scorer in scorers.items():
        _fill(scorer, {"paper_row": name if name in PAPER_ROWS else ""})
    for name, entry in downloads.items():
        if isinstance(entry, dict) and not PLACES & entry.keys():
            _fill(entry, known_download(name) or {})
    for catalogue, known in (("tables", {name: {} for name in TABLES}), ("figures", FIGURES)):
        entries = paper.setdefault(catalogue, {})
        if isinstance(entries, dict):
            for name, defaults in known.items():
                kept = {key: value for key, value in defaults.items() if key not in _ROWS}
                _fill(entries.setdefault(name, {}), kept)


def _write_out_seeds(config: MutableConfig) -> None:
    """Replace each entry with `seeds`, and its id where it is selected, by heads `<id>_<seed>`."""
    heads: dict[str, Any] = {}
    of_entry: dict[str, list[str]] = {}
    for name, entry in config["ablations"].items():
        seeds = entry.get("seeds") if isinstance(entry, dict) and "seed" not in entry else None
        if seeds is None or not _are_seeds(seeds):
            heads.setdefault(name, entry)
            continue
        shared = {key: value for key, value in entry.items() if key != "seeds"}
        of_entry[name] = [f"{name}_{seed}" for seed in seeds]
        for head, seed in zip(of_entry[name], seeds, strict=True):
            own = heads.setdefault(head, config["ablations"].get(head, {}))
            _fill(own, {**shared, "display": f"{entry.get('display', name)} ({seed})", "seed": seed})
    config["ablations"] = heads
    select = config.get("select")
    if of_entry and isinstance(select, dict):
        for kind in ("ablations", "scorers", "add", "drop"):
            chosen = select.get(kind)
            if isinstance(chosen, list):
                select[kind] = [head for name in chosen for head in of_entry.get(str(name), [name])]
            elif isinstance(chosen, dict):  # `drop` with reasons
                select[kind] = {head: why for name, why in chosen.items() for head in of_entry.get(str(name), [name])}


def _are_seeds(value: Any) -> bool:
    """Whether these fit the schema; if not, they are left for the schema to refuse."""
    whole = isinstance(value, list) and all(type(seed) is int and seed >= 0 for seed in value)
    return whole and 0 < len(value) == len(set(value))


def write_out_lists(config: MutableConfig) -> None:
    """Fill in the lists that follow from the catalogues and from what runs, in a config that fits the schema.

    By default a whole catalogue is selected, as far as the rest of the selection allows.
    """
    select, paper = config.setdefault("select", {}), config["paper"]
    ablations, scorers = config["ablations"], config["scorers"]
    groups = config["groups"] = _form_groups(config)

    def choose(kind: str, catalogue: Iterable[str], possible: Callable[[str], bool] = lambda name: True) -> list[str]:
        """The selected ids of a catalogue, and the added ones; `check_references` reports unknown ids."""
        known = list(catalogue)
        chosen = select.get(kind, [name for name in known if possible(name)])
        added = [name for name in select.get("add", []) if name in known]
        select[kind] = list(dict.fromkeys([*chosen, *added]))
        return [name for name in select[kind] if name in known]

    sources = choose("sources", config["sources"])
    heads = choose("ablations", ablations)
    running = choose("scorers", scorers, lambda name: scorers[name].get("ablation") in [None, *heads])
    benchmarks = choose("benchmarks", BENCHMARKS)
    choose("groups", groups, lambda name: bool(groups[name]) and set(groups[name]) <= set(sources))

    def rows(listed: list[str] | None, papers: list[str], where: str) -> list[str]:
        """The listed rows, by default the paper's rows that run or what stands for them; and those with `shown_in`."""
        shown = [name for name in running if where in scorers[name].get("shown_in", [])]
        if listed is not None:
            return list(dict.fromkeys([*listed, *shown]))
        found = [name for row in papers for name in ([row] if row in running else _standing_for(row, running, scorers))]
        if where == "sensitivity":
            found = [name for name in running if "choice" in scorers[name]]
        return list(dict.fromkeys([*found, *shown])) or papers

    for name, entry in paper["tables"].items():
        entry["scorers"] = rows(entry.get("scorers"), TABLES.get(name, []), name)
    for name, entry in paper["figures"].items():
        known = FIGURES.get(name, {})
        if entry.get("scorers", known.get("scorers")):  # else it shows all that run, or none
            entry["scorers"] = rows(entry.get("scorers"), known.get("scorers", []), name)
        trained = [head for head in known.get("ablations", []) if head in heads]
        _fill(entry, {"ablations": trained or known.get("ablations", [])})

    def shows_something(entry: Mapping[str, Any]) -> bool:
        """Whether anything that a table or figure shows is in this run."""
        of_heads = [*entry.get("ablations", []), *([entry["ablation"]] if "ablation" in entry else [])]
        return (
            (not entry.get("scorers") or bool(set(entry["scorers"]) & set(running)))
            and set(of_heads) <= set(heads)
            and entry.get("benchmark") in [None, *benchmarks]
        )

    choose("tables", paper["tables"], lambda name: shows_something(paper["tables"][name]))
    choose("figures", paper["figures"], lambda name: shows_something(paper["figures"][name]))


def _form_groups(config: MutableConfig) -> dict[str, list[str]]:
    """Sources by group: those that are listed, or those whose entries name the group."""
    named: dict[str, list[str]] = {}
    for source, entry in config["sources"].items():
        for group in entry.get("groups", []):
            named.setdefault(group, []).append(source)
    groups = named | config.get("groups", {})
    return {name: groups[name] for name in dict.fromkeys([*config.get("group_roles", {}), *groups]) if name in groups}


def _standing_for(row: str, running: Iterable[str], scorers: Mapping[str, Any]) -> list[str]:
    """Scorers that are compared with a row of the paper, but have another id."""
    return [name for name in running if scorers[name]["paper_row"] == row and name not in PAPER_ROWS]


def _fill(entry: Any, defaults: Mapping[str, Any]) -> None:
    """Add missing keys to an entry; one that is no mapping is left for the schema to refuse."""
    if isinstance(entry, dict):
        for key, value in defaults.items():
            if key not in entry:
                entry[key] = copy.deepcopy(value)
