"""The settings of each step of the stage `paper`: what it reads of the config, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nearid.config.differences import differences
from nearid.config.mixes import drawn_sources
from nearid.config.steps import (
    BENCHMARKS,
    Settings,
    count_token_shards,
    entry_of,
    groups_of,
    mix_of,
    training_of,
)
from nearid.config.types import Config, Ids

# The download that config.yaml names. A prompt from another file does not count as the paper's wording.
_PAPERS_WORDS = "resources/judge_words/"
# Tables and figures that show how heads were trained; the others must not be remade when that changes.
_ABOUT_TRAINING = ("table4", "table6", "table8", "table9", "weights", "effects", "sensitivity")


def _run(
    config: Config, scorers: list[str] | None = None, sources: list[str] | None = None, shown_in: str = ""
) -> Settings:
    """What the paper stage needs to know about a run, for the table or figure `shown_in`."""
    trained = shown_in in _ABOUT_TRAINING
    named = config["select"]["scorers"] if scorers is None else scorers
    dropped = config["select"]["drop"]
    names = [name for name in named if name not in dropped]
    gone = [name for name in (config["scorers"] if scorers is None else scorers) if name in dropped]
    left_out = [_scorer(config, name, trained) | {"reason": dropped[name]} for name in gone]
    return {
        "name": config["name"],
        "seed": config["seed"],
        "dataset_kind": config["dataset"]["kind"],
        "scorers": [_scorer(config, name, trained) for name in names],
        "sources": [
            {"id": name, **{key: config["sources"][name][key] for key in ("display", "working_px")}}
            for name in sources or config["select"]["sources"]
        ],
        "groups": groups_of(config),
        "group_roles": {name: role for name, role in config["group_roles"].items() if name in groups_of(config)},
        "headline_group": config["headline_group"],
        "benchmarks": config["select"]["benchmarks"],
        "official_splits": _has_official_splits(config),
        "released": sorted(set(config["released"]) & set(config["select"]["sources"])),
        **({"left_out": left_out} if left_out else {}),
        **({"stand_ins": True} if config["stand_ins"] else {}),
        **({"simulated_raters": True} if config["dreambench"].get("simulated") else {}),
    }


def _has_official_splits(config: Config) -> bool:
    """Whether the test identities are the paper's: those of the released data, or those in the official lists."""
    dataset = config["dataset"]
    return dataset["kind"] == "nearid" or bool(dataset.get(dataset["kind"], {}).get("official_splits"))


def _scorer(config: Config, name: str, trained: bool) -> Settings:
    """What a table shows of a scorer; if `trained`, also how its head was trained."""
    entry = config["scorers"][name]
    settings = {"id": name, **{key: entry[key] for key in ("display", "paper_row", "kind")}}
    settings["retrained"] = "ablation" in entry
    if entry["kind"] == "vlm_judge" and not _asks_as_the_paper(entry):
        settings["other_prompt"] = True
    if trained and "choice" in entry:
        seed = config["ablations"][entry["ablation"]].get("seed", config["seed"])
        settings["choice"] = {"name": entry["choice"], "seed": seed}
    if trained and "ablation" in entry:
        ablation, mix = config["ablations"][entry["ablation"]], mix_of(config, entry["ablation"])
        settings["training"] = {
            "objective": ablation["objective"],
            "params": ablation["params"],
            "sources": len(drawn_sources(mix)),
            "mtg": bool(mix["mtg_repeats"]),
        }
    # An overlay that does not select the other scorer shows this one's own value.
    if entry.get("m_h_from") in config["select"]["scorers"]:
        settings["m_h_from"] = entry["m_h_from"]
    return settings


def _asks_as_the_paper(judge: Mapping[str, Any]) -> bool:
    """Whether a judge is asked in the paper's words: from the authors' file, or from a file declared to have them."""
    prompt = judge.get("prompt", "")
    return bool(prompt) and (prompt.startswith(_PAPERS_WORDS) or judge.get("wording") == "paper")


def make_table(config: Config, ids: Ids) -> Settings:
    """What a table shows."""
    table = ids["table"]
    return {"table": table, "run": _run(config, config["paper"]["tables"][table]["scorers"], shown_in=table)}


def _tables(config: Config) -> Settings:
    return {table: make_table(config, {"table": table}) for table in config["select"]["tables"]}


def _compared(config: Config) -> Settings:
    """What is compared with the paper's numbers: the tables, and figure 4."""
    compared = _tables(config)
    if "figure4" in config["select"]["figures"]:
        compared["figure4"] = {"table": "figure4", "run": _run(config)}
    differs = differences(config)
    return {
        name: settings | {"run": settings["run"] | ({"differs": differs} if differs else {})}
        for name, settings in compared.items()
    }


def compute_figure(config: Config, ids: Ids) -> Settings:
    """What a figure is computed from."""
    figure = config["paper"]["figures"][ids["figure"]]
    needs = figure["needs"]
    settings: Settings = {"figure": ids["figure"], "seed": figure.get("seed", config["seed"])}
    if "tokens" in needs:
        backbone = training_of(config, figure["ablation"])["backbone"]
        source = (figure["sources"] or config["select"]["sources"])[0]
        settings |= {
            "ablation": figure["ablation"],
            "backbone": entry_of(config, "backbones", backbone),
            "backbone_id": backbone,
            "source": source,
            **count_token_shards(config, backbone, ["positives", source]),
            "split": figure["split"],
            "identities": figure["identities"],
            "timelapse": figure["animate"],
            "display": {
                "frozen": config["backbones"][backbone]["display"],
                "trained": config["ablations"][figure["ablation"]]["display"],
                "distractors": config["sources"][source]["display"],
            },
        }
    if {"images", "scores", "metrics"} & set(needs):
        # A figure with pictures alone shows no scorer: a new one must not redraw it.
        scorers = (figure["scorers"] or None) if {"scores", "metrics"} & set(needs) else []
        run = _run(config, scorers, figure["sources"], shown_in=ids["figure"])
        settings |= {"condition": figure["condition"], "run": run}
    if "images" in needs:
        settings |= {"rows": figure["identities"], "size_px": figure["size_px"]}
    if ids["figure"] == "figure10":
        worded = (config["scorers"][name].get("prompt") for name in config["select"]["scorers"])
        prompt = next(filter(None, worded), None)
        settings |= {"prompt": prompt} if prompt else {}
    if "training_log" in needs:
        ablations = figure["ablations"] or config["select"]["ablations"]
        settings["ablations"] = [{"id": name, "display": config["ablations"][name]["display"]} for name in ablations]
    return settings


def plot_figure(config: Config, ids: Ids) -> Settings:
    """How a figure looks."""
    return {"figure": ids["figure"], "style": config["paper"]["figures"][ids["figure"]]["style"]}


def make_page(config: Config, ids: Ids) -> Settings:
    """What the page shows."""
    figures = config["select"]["figures"]
    differs = differences(config)
    run = _run(config, shown_in="effects") | ({"differs": differs} if differs else {})
    page = {"run": run, "tables": _tables(config), "compared": _compared(config), "figures": figures}
    lacks = {f"{name}, {title}": why for name in config["select"]["scorers"] for title, why in _lacks(config, name)}
    gaps = config["select"]["drop"] | lacks
    return page | _aims(config) | ({"gaps": gaps} if gaps else {})


def _aims(config: Config) -> Settings:
    """What runs with several seeds should show, sorted as a manifest keeps it, and the table of their numbers."""
    table, aims = config["paper"]["seed_table"], [aim for _, aim in sorted(config["paper"]["aims"].items())]
    return {"seed_table": table, "aims": aims} if table and aims else {}


def _lacks(config: Config, scorer: str) -> list[tuple[str, str]]:
    """Benchmarks for which a scorer has no scores in this run, with the reasons."""
    return [(BENCHMARKS[name], why) for name, why in config["scorers"][scorer]["lacks"].items()]


def compare_with_paper(config: Config, ids: Ids) -> Settings:
    """What is compared with the paper's numbers."""
    return {"tables": _compared(config)}


def show_identities(config: Config, ids: Ids) -> Settings:
    """What the browser shows."""
    return {"run": _run(config)}


def write_summary(config: Config, ids: Ids) -> Settings:
    """What the summary says."""
    return {"run": _run(config, shown_in="effects"), **_aims(config)}


def write_manifest(config: Config, ids: Ids) -> Settings:
    """The whole config."""
    return {"config": config}
