"""The part of the config that each step reads, so that a changed setting re-runs only the steps that use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nearid.config.differences import differences
from nearid.config.variants import MASKING, augmentation_id, is_drawn, sort_variants, versions
from nearid.errors import UserError
from nearid.layout import shard_ids

Config = Mapping[str, Any]
Settings = dict[str, Any]
CONDITIONS = list(MASKING)
BENCHMARKS = {"nearid_bench": "NearID-bench", "mtg": "MTG", "dreambench": "DreamBench++"}
"""Benchmarks and their names."""


def step_settings(step: str, config: Config, **ids: Any) -> Settings:
    """Settings of `step` for the given ids, e.g. `step_settings("train_head", config, ablation="nearid")`.

    Ids that change no setting (a shard's, a thread count) are ignored.

    Raises:
        UserError: an id is not in the config.
    """
    try:
        return _STEPS[step](config, ids)
    except KeyError as error:
        raise UserError(f"step {step}, {ids}", f"{error} is unknown", "ids of the config", "check the ids") from error


def mix_of(config: Config, ablation: str) -> Mapping[str, Any]:
    """The training mixture of an ablation."""
    return config["mixes"][config["ablations"][ablation]["mix"]]


def training_of(config: Config, ablation: str) -> Settings:
    """The training settings of an ablation: the defaults with its overrides on top."""
    shared, own = config["training"], config["ablations"][ablation]["training"]
    chances = {name: {**shared[name], **own.get(name, {})} for name in ("mask_probability", "augmentation")}
    return {**shared, **own, **chances}


def backbone_of(config: Config, scorer: str) -> str | None:
    """The backbone whose tokens a scorer reads, if it reads any."""
    entry = config["scorers"][scorer]
    if "ablation" in entry:
        return training_of(config, entry["ablation"])["backbone"]
    return entry.get("backbone")


def drawn_sources(mix: Mapping[str, Any]) -> list[str]:
    """The sources whose distractors a mixture draws, beside the positives."""
    return list(mix["sources"]) if mix["nearid_repeats"] else []


def drawn_collections(config: Config, ablation: str) -> list[str]:
    """The collections of images that an ablation's samples come from."""
    mix = mix_of(config, ablation)
    sources = drawn_sources(mix)
    return [*(["positives", *sources] if sources else []), *(["mtg_train"] if mix["mtg_repeats"] else [])]


def compared_collections(config: Config, benchmark: str) -> list[str]:
    """The collections whose tokens a scorer reads for a benchmark; DreamBench++'s pictures have none."""
    return {"nearid_bench": ["positives", *config["select"]["sources"]], "mtg": ["mtg_test"]}.get(benchmark, [])


def token_variants(config: Config, backbone: str, collection: str) -> dict[str, list[str]]:
    """What of a collection's images each split needs (`nearid.config.variants`): training, its validation, benchmarks.

    All ablations of the catalogue count, selected or not, so that a selection extracts nothing anew.
    """
    variants: dict[str, list[str]] = {}
    reading = _reading(config, collection, backbone)
    if reading:
        wanted: list[str] = []
        for training in reading:
            for masking in MASKING if any(training["mask_probability"].values()) else MASKING[:1]:
                wanted += versions(masking, training["augmentation"], training["augmented_draws"])
        variants["train"] = sort_variants(wanted)
    if any(training_of(config, name)["backbone"] == backbone for name in config["ablations"]):
        variants["val"] = ["full"]
    variants["test"] = list(CONDITIONS)
    of_mtg = collection.removeprefix("mtg_")
    return {of_mtg: variants.get(of_mtg, ["full"])} if of_mtg != collection else variants


def token_shards(config: Config, backbone: str, collection: str) -> list[str]:
    """The shards of a collection's tokens by a backbone: those of the positives where any training reads them.

    The few images that are only compared are one shard, as part edits are: a job that starts for some thirty images
    takes longer to start than to compute.
    """
    variants = token_variants(config, backbone, collection)
    whole = collection.startswith("mtg_") or "train" not in variants
    return shard_ids(1 if whole else config["dataset"]["shards"])


def benchmarks_of(config: Config, scorer: str) -> list[str]:
    """The selected benchmarks that a scorer takes part in."""
    own, lacks = config["scorers"][scorer]["benchmarks"], config["scorers"][scorer]["lacks"]
    return [name for name in config["select"]["benchmarks"] if (not own or name in own) and name not in lacks]


def simulated_raters(config: Config) -> Mapping[str, int]:
    """Sizes of the pretended DreamBench++ where anything selected is held against it; else empty."""
    rated = any("dreambench" in benchmarks_of(config, scorer) for scorer in config["select"]["scorers"])
    return (config["dreambench"].get("simulated") or {}) if rated else {}


def why_absent(config: Config, scorer: str) -> dict[str, str]:
    """Why a scorer has no scores of a benchmark, for each of which it has none."""
    own, lacks = config["scorers"][scorer]["benchmarks"], config["scorers"][scorer]["lacks"]
    reasons = {}
    for name, title in BENCHMARKS.items():
        if name in lacks:
            reasons[name] = lacks[name]
        elif name not in config["select"]["benchmarks"]:
            reasons[name] = config["select"]["drop"].get(name) or f"{title} is not part of this run"
        elif own and name not in own:
            reasons[name] = f"takes no part in {title}"
    return reasons


def _entry(config: Config, catalogue: str, name: str) -> Settings:
    """A catalogue entry without what changes no result: a new display name must not paint or train again."""
    aside = ("display", "paper_row", "m_h_from", "splits", "seconds_per_image", "choice", "wording", "lacks")
    return {key: value for key, value in config[catalogue][name].items() if key not in aside}


def _dataset(config: Config) -> Settings:
    kind = config["dataset"]["kind"]
    return {"kind": kind, "options": config["dataset"].get(kind, {})}


def _curate(config: Config, ids: Config) -> Settings:
    keys = ("shards", "splits", "clean_masks", "min_views")
    raw = {"keep_raw_masks": True} if config["dataset"]["keep_raw_masks"] else {}
    return {"seed": config["seed"], **{key: config["dataset"][key] for key in keys}, **raw, **_dataset(config)}


def _mtg(config: Config, ids: Config) -> Settings:
    return {"seed": config["seed"], **_dataset(config)}


def _raters(config: Config, ids: Config) -> Settings:
    return {"seed": config["seed"], "simulated": config["dreambench"]["simulated"], **_dataset(config)}


def _inpaint(config: Config, ids: Config) -> Settings:
    source = ids["source"]
    settings = {"source": _source(config, source), "source_id": source}
    return {"seed": config["seed"], **settings, "splits": _splits(config, source), "dataset": _dataset(config)}


def _source(config: Config, source: str) -> Settings:
    if source not in config["released"]:
        return _entry(config, "sources", source)
    untouched = {"working_px": 512, "dilate_px": 0, "paste_back": False, "feather_px": 0, "blur_sigma": 0.0}
    return {"engine": "released", **untouched, "options": {"path": config["released"][source]}}


def _quality(config: Config, ids: Config) -> Settings:
    source = ids["source"]
    own = {"source_id": source, "dilate_px": config["sources"][source]["dilate_px"]}
    return {"seed": config["seed"], **own, "shards": config["dataset"]["shards"], **config["quality_sheet"]}


def _extract(config: Config, ids: Config) -> Settings:
    backbone, collection = ids["backbone"], ids["collection"]
    own = collection.startswith("mtg_") or len(token_shards(config, backbone, collection)) > 1
    settings = {
        "backbone": _entry(config, "backbones", backbone),
        "variants": token_variants(config, backbone, collection),
        "shards": [ids["shard"]] if own else shard_ids(config["dataset"]["shards"]),
    }
    # What is not asked for is not named: a shard without it stays what it is.
    changed = [training["augmentation"] for training in _reading(config, collection, backbone)]
    drawn = {augmentation_id(chances): chances for chances in changed if is_drawn(chances)}
    gaps = config["tokens"]["damaged_images"] == "gap"
    return settings | ({"augmentations": drawn} if drawn else {}) | ({"damaged_images": "gap"} if gaps else {})


def _splits(config: Config, source: str) -> list[str]:
    """The rows of a source that are painted: those of train only if an ablation draws from it.

    A source that none draws from may say which others it wants, `splits` of its entry.

    All ablations of the catalogue count, selected or not, so that a selection changes no distractors.
    """
    if _drawing(config, source):
        return ["train", "val", "test"]
    return config["sources"].get(source, {}).get("splits") or ["val", "test"]


def _reading(config: Config, collection: str, backbone: str) -> list[Settings]:
    """Training settings of the ablations that read a collection's tokens; one that computes them reads none."""
    own = [training_of(config, name) for name in _drawing(config, collection)]
    return [training for training in own if training["backbone"] == backbone and training["tokens"] == "cached"]


def _drawing(config: Config, collection: str) -> list[str]:
    """The ablations whose samples come from a collection."""
    return [ablation for ablation in config["ablations"] if collection in drawn_collections(config, ablation)]


def _train(config: Config, ids: Config) -> Settings:
    ablation = ids["ablation"]
    entry, training = config["ablations"][ablation], training_of(config, ablation)
    backbone = training["backbone"]
    # How heads share a job changes nothing in them, and no draw is read where none is wanted.
    unread = ["pack"]
    if training["tokens"] == "online" or not is_drawn(training["augmentation"]):
        unread.append("augmented_draws")
    return {
        "ablation": ablation,
        "objective": entry["objective"],
        "params": entry["params"],
        "mix": mix_of(config, ablation),
        "seed": entry.get("seed", config["seed"]),
        "backbone": _entry(config, "backbones", backbone),
        "backbone_id": backbone,
        "training": {key: value for key, value in training.items() if key not in unread},
    }


def _score(config: Config, ids: Config) -> Settings:
    scorer = ids["scorer"]
    settings = {"scorer": _entry(config, "scorers", scorer), "scorer_id": scorer, "conditions": CONDITIONS}
    backbone = backbone_of(config, scorer)
    if backbone:
        settings |= {"backbone": _entry(config, "backbones", backbone), "backbone_id": backbone}
    return settings


def _score_nearid_bench(config: Config, ids: Config) -> Settings:
    read = _token_shards(config, backbone_of(config, ids["scorer"]), compared_collections(config, "nearid_bench"))
    return {**_score(config, ids), **read, "sources": config["select"]["sources"], "split": "test"}


def _score_mtg(config: Config, ids: Config) -> Settings:
    read = _token_shards(config, backbone_of(config, ids["scorer"]), compared_collections(config, "mtg"))
    return {**_score(config, ids), **read}


def _token_shards(config: Config, backbone: str | None, collections: list[str]) -> Settings:
    """How many shards there are of what a step reads."""
    if backbone is None:
        return {}
    return {"token_shards": {name: len(token_shards(config, backbone, name)) for name in collections}}


def _score_dreambench(config: Config, ids: Config) -> Settings:
    settings = _score(config, ids)
    # Released ratings need no pictures.
    rated = settings["scorer"]["kind"] == "ratings"
    if rated:
        return settings
    simulated = config["dreambench"].get("simulated")
    return settings | ({"simulated": True} if simulated else {"path": config["dreambench"]["samples"]})


def _summarise(config: Config, ids: Config) -> Settings:
    benchmarks = benchmarks_of(config, ids["scorer"])
    settings = {
        "scorer_id": ids["scorer"],
        "groups": _groups(config),
        "headline_group": config["headline_group"],
        "benchmarks": benchmarks,
        "seed": config["seed"],
        "absent": why_absent(config, ids["scorer"]),
    }
    if "dreambench" not in benchmarks:
        return settings
    simulated = config["dreambench"].get("simulated")
    return settings | ({"simulated": True} if simulated else {"dreambench": config["dreambench"]["ratings"]})


def _groups(config: Config) -> Settings:
    return {name: config["groups"][name] for name in config["select"]["groups"]}


# The download of config.yaml. An overlay that names another file must not be taken for the paper's words.
_PAPERS_WORDS = "resources/judge_words/"
# Tables and figures about how heads were trained; others must not be remade for it.
_ABOUT_TRAINING = ("table4", "table6", "table8", "table9", "weights", "effects", "sensitivity")


def _run(
    config: Config, scorers: list[str] | None = None, sources: list[str] | None = None, shown_in: str = ""
) -> Settings:
    """What the paper stage needs to know of a run, for the table or figure `shown_in`."""
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
        "groups": _groups(config),
        "group_roles": {name: role for name, role in config["group_roles"].items() if name in _groups(config)},
        "headline_group": config["headline_group"],
        "benchmarks": config["select"]["benchmarks"],
        "official_splits": _has_official_splits(config),
        "released": sorted(set(config["released"]) & set(config["select"]["sources"])),
        **({"left_out": left_out} if left_out else {}),
        **({"stand_ins": True} if config["stand_ins"] else {}),
        **({"simulated_raters": True} if config["dreambench"].get("simulated") else {}),
    }


def _has_official_splits(config: Config) -> bool:
    """Whether the test identities are the paper's: the released data's, or looked for by the official lists."""
    dataset = config["dataset"]
    return dataset["kind"] == "nearid" or bool(dataset.get(dataset["kind"], {}).get("official_splits"))


def _scorer(config: Config, name: str, trained: bool) -> Settings:
    """What a table says of a scorer, and how it was `trained`."""
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


def _asks_as_the_paper(judge: Config) -> bool:
    """Whether a judge is asked in the paper's words: from the authors' file, or from one that is said to hold them."""
    prompt = judge.get("prompt", "")
    return bool(prompt) and (prompt.startswith(_PAPERS_WORDS) or judge.get("wording") == "paper")


def _table(config: Config, ids: Config) -> Settings:
    table = ids["table"]
    return {"table": table, "run": _run(config, config["paper"]["tables"][table]["scorers"], shown_in=table)}


def _tables(config: Config) -> Settings:
    return {table: _table(config, {"table": table}) for table in config["select"]["tables"]}


def _compared(config: Config) -> Settings:
    """What stands beside the paper's numbers: the tables, and those of figure 4."""
    compared = _tables(config)
    if "figure4" in config["select"]["figures"]:
        compared["figure4"] = {"table": "figure4", "run": _run(config)}
    differs = differences(config)
    return {
        name: settings | {"run": settings["run"] | ({"differs": differs} if differs else {})}
        for name, settings in compared.items()
    }


def _compute_figure(config: Config, ids: Config) -> Settings:
    figure = config["paper"]["figures"][ids["figure"]]
    needs = figure["needs"]
    settings: Settings = {"figure": ids["figure"], "seed": figure.get("seed", config["seed"])}
    if "tokens" in needs:
        backbone = training_of(config, figure["ablation"])["backbone"]
        source = (figure["sources"] or config["select"]["sources"])[0]
        settings |= {
            "ablation": figure["ablation"],
            "backbone": _entry(config, "backbones", backbone),
            "backbone_id": backbone,
            "source": source,
            **_token_shards(config, backbone, ["positives", source]),
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
        # Pictures alone show no scorer: a new one must not redraw them.
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


def _plot_figure(config: Config, ids: Config) -> Settings:
    return {"figure": ids["figure"], "style": config["paper"]["figures"][ids["figure"]]["style"]}


def _page(config: Config, ids: Config) -> Settings:
    figures = config["select"]["figures"]
    differs = differences(config)
    run = _run(config, shown_in="effects") | ({"differs": differs} if differs else {})
    page = {"run": run, "tables": _tables(config), "compared": _compared(config), "figures": figures}
    lacks = {f"{name}, {title}": why for name in config["select"]["scorers"] for title, why in _lacks(config, name)}
    gaps = config["select"]["drop"] | lacks
    return page | ({"gaps": gaps} if gaps else {})


def _lacks(config: Config, scorer: str) -> list[tuple[str, str]]:
    """Names of benchmarks that a scorer lacks here, with the reasons."""
    return [(BENCHMARKS[name], why) for name, why in config["scorers"][scorer]["lacks"].items()]


_STEPS: dict[str, Callable[[Config, Config], Settings]] = {
    "curate_positives": _curate,
    "make_mtg": _mtg,
    "make_raters": _raters,
    "inpaint_shard": _inpaint,
    "make_quality_sheet": _quality,
    "extract_tokens": _extract,
    "train_head": _train,
    "score_nearid_bench": _score_nearid_bench,
    "score_mtg": _score_mtg,
    "score_dreambench": _score_dreambench,
    "summarise_scores": _summarise,
    "make_table": _table,
    "compute_figure": _compute_figure,
    "plot_figure": _plot_figure,
    "compare_with_paper": lambda config, ids: {"tables": _compared(config)},
    "show_identities": lambda config, ids: {"run": _run(config)},
    "make_page": _page,
    "write_summary": lambda config, ids: {"run": _run(config, shown_in="effects")},
    "write_manifest": lambda config, ids: {"config": config},
    "write_crate": lambda config, ids: {},
    "export_model": lambda config, ids: {},
    "export_datasets": lambda config, ids: {},
}
