"""The part of the config that each step reads, so that a changed setting re-runs only the steps that use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nearid.config.mixes import mixed_collections
from nearid.config.types import Config, Ids
from nearid.config.variants import MASKING, augmentation_id, is_drawn, sort_variants, versions
from nearid.errors import UserError
from nearid.layout import shard_ids

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
    from nearid.workflow.steps import STEPS  # which names these functions

    try:
        return STEPS[step].settings(config, ids)
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


def drawn_collections(config: Config, ablation: str) -> list[str]:
    """The collections of images that an ablation's samples come from."""
    return mixed_collections(mix_of(config, ablation))


def compared_collections(config: Config, benchmark: str) -> list[str]:
    """The collections whose tokens a scorer reads for a benchmark; DreamBench++'s pictures have none."""
    return {"nearid_bench": ["positives", *config["select"]["sources"]], "mtg": ["mtg_test"]}.get(benchmark, [])


def token_variants(config: Config, backbone: str, collection: str) -> dict[str, list[str]]:
    """The variants of a collection's images that each split needs for training, validation and benchmarks.

    All ablations of the catalogue count, selected or not, so that another selection extracts nothing again. Names of
    variants: `nearid.config.variants`.
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
    """The shards of a collection's tokens by a backbone: as many as the positives have, if any training reads them.

    Images that are only compared are few and form one shard, as part edits do: for some thirty images, a job would take
    longer to start than to compute.
    """
    variants = token_variants(config, backbone, collection)
    whole = collection.startswith("mtg_") or "train" not in variants
    return shard_ids(1 if whole else config["dataset"]["shards"])


def benchmarks_of(config: Config, scorer: str) -> list[str]:
    """The selected benchmarks that a scorer takes part in."""
    own, lacks = config["scorers"][scorer]["benchmarks"], config["scorers"][scorer]["lacks"]
    return [name for name in config["select"]["benchmarks"] if (not own or name in own) and name not in lacks]


def simulated_raters(config: Config) -> Mapping[str, int]:
    """Sizes of the simulated DreamBench++ if anything selected is compared with it; else empty."""
    rated = any("dreambench" in benchmarks_of(config, scorer) for scorer in config["select"]["scorers"])
    return (config["dreambench"].get("simulated") or {}) if rated else {}


def why_absent(config: Config, scorer: str) -> dict[str, str]:
    """The reasons why a scorer has no scores, by benchmark."""
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


def entry_of(config: Config, catalogue: str, name: str) -> Settings:
    """A catalogue entry without the keys that change no result: a new display name must not paint or train again."""
    aside = (
        *("display", "groups", "splits", "seconds_per_image"),
        *("paper_row", "m_h_from", "shown_in", "choice", "wording", "lacks"),
    )
    return {key: value for key, value in config[catalogue][name].items() if key not in aside}


def _dataset(config: Config) -> Settings:
    kind = config["dataset"]["kind"]
    return {"kind": kind, "options": config["dataset"].get(kind, {})}


def curate_positives(config: Config, ids: Ids) -> Settings:
    """What curation reads."""
    keys = ("shards", "splits", "clean_masks", "min_views")
    raw = {"keep_raw_masks": True} if config["dataset"]["keep_raw_masks"] else {}
    return {"seed": config["seed"], **{key: config["dataset"][key] for key in keys}, **raw, **_dataset(config)}


def make_mtg(config: Config, ids: Ids) -> Settings:
    """What the part-edit sets are made from."""
    return {"seed": config["seed"], **_dataset(config)}


def make_raters(config: Config, ids: Ids) -> Settings:
    """What simulated raters are made from."""
    return {"seed": config["seed"], "simulated": config["dreambench"]["simulated"], **_dataset(config)}


def inpaint_shard(config: Config, ids: Ids) -> Settings:
    """How a source is painted."""
    source = ids["source"]
    settings = {"source": _source(config, source), "source_id": source}
    return {"seed": config["seed"], **settings, "splits": _splits(config, source), "dataset": _dataset(config)}


def _source(config: Config, source: str) -> Settings:
    if source not in config["released"]:
        return entry_of(config, "sources", source)
    untouched = {"working_px": 512, "dilate_px": 0, "paste_back": False, "feather_px": 0, "blur_sigma": 0.0}
    return {"engine": "released", **untouched, "options": {"path": config["released"][source]}}


def make_quality_sheet(config: Config, ids: Ids) -> Settings:
    """What the sheet of a source shows."""
    source = ids["source"]
    own = {"source_id": source, "dilate_px": config["sources"][source]["dilate_px"]}
    return {"seed": config["seed"], **own, "shards": config["dataset"]["shards"], **config["quality_sheet"]}


def extract_tokens(config: Config, ids: Ids) -> Settings:
    """What is extracted of a collection, and by which backbone."""
    backbone, collection = ids["backbone"], ids["collection"]
    own = collection.startswith("mtg_") or len(token_shards(config, backbone, collection)) > 1
    settings = {
        "backbone": entry_of(config, "backbones", backbone),
        "variants": token_variants(config, backbone, collection),
        "shards": [ids["shard"]] if own else shard_ids(config["dataset"]["shards"]),
    }
    # Keys that are not needed are left out, so that shards without them keep their settings.
    changed = [training["augmentation"] for training in _reading(config, collection, backbone)]
    drawn = {augmentation_id(chances): chances for chances in changed if is_drawn(chances)}
    gaps = config["tokens"]["damaged_images"] == "gap"
    return settings | ({"augmentations": drawn} if drawn else {}) | ({"damaged_images": "gap"} if gaps else {})


def _splits(config: Config, source: str) -> list[str]:
    """The splits of a source that are painted: all if an ablation draws from it, else `splits` of its entry.

    All ablations of the catalogue count, selected or not, so that another selection changes no distractors.
    """
    if _drawing(config, source):
        return ["train", "val", "test"]
    return config["sources"].get(source, {}).get("splits") or ["val", "test"]


def _reading(config: Config, collection: str, backbone: str) -> list[Settings]:
    """Training settings of the ablations that read a collection's cached tokens."""
    own = [training_of(config, name) for name in _drawing(config, collection)]
    return [training for training in own if training["backbone"] == backbone and training["tokens"] == "cached"]


def _drawing(config: Config, collection: str) -> list[str]:
    """The ablations whose samples come from a collection."""
    return [ablation for ablation in config["ablations"] if collection in drawn_collections(config, ablation)]


def train_head(config: Config, ids: Ids) -> Settings:
    """How a head is trained."""
    ablation = ids["ablation"]
    entry, training = config["ablations"][ablation], training_of(config, ablation)
    backbone = training["backbone"]
    # Sharing a job does not change a head, and `augmented_draws` is read only if there are draws in the cache.
    unread = ["pack"]
    if training["tokens"] == "online" or not is_drawn(training["augmentation"]):
        unread.append("augmented_draws")
    return {
        "ablation": ablation,
        "objective": entry["objective"],
        "params": entry["params"],
        "mix": mix_of(config, ablation),
        "seed": entry.get("seed", config["seed"]),
        "backbone": entry_of(config, "backbones", backbone),
        "backbone_id": backbone,
        "training": {key: value for key, value in training.items() if key not in unread},
    }


def _score(config: Config, ids: Ids) -> Settings:
    scorer = ids["scorer"]
    settings = {"scorer": entry_of(config, "scorers", scorer), "scorer_id": scorer, "conditions": CONDITIONS}
    backbone = backbone_of(config, scorer)
    if backbone:
        settings |= {"backbone": entry_of(config, "backbones", backbone), "backbone_id": backbone}
    return settings


def score_nearid_bench(config: Config, ids: Ids) -> Settings:
    """How a scorer is scored on NearID-bench."""
    read = count_token_shards(config, backbone_of(config, ids["scorer"]), compared_collections(config, "nearid_bench"))
    return {**_score(config, ids), **read, "sources": config["select"]["sources"], "split": "test"}


def score_mtg(config: Config, ids: Ids) -> Settings:
    """How a scorer is scored on part edits."""
    read = count_token_shards(config, backbone_of(config, ids["scorer"]), compared_collections(config, "mtg"))
    return {**_score(config, ids), **read}


def count_token_shards(config: Config, backbone: str | None, collections: list[str]) -> Settings:
    """The number of token shards that a step reads, by collection."""
    if backbone is None:
        return {}
    return {"token_shards": {name: len(token_shards(config, backbone, name)) for name in collections}}


def score_dreambench(config: Config, ids: Ids) -> Settings:
    """How a scorer is scored on DreamBench++."""
    settings = _score(config, ids)
    # Released ratings need no pictures.
    rated = settings["scorer"]["kind"] == "ratings"
    if rated:
        return settings
    simulated = config["dreambench"].get("simulated")
    return settings | ({"simulated": True} if simulated else {"path": config["dreambench"]["samples"]})


def summarise_scores(config: Config, ids: Ids) -> Settings:
    """How a scorer's similarities are summarised as metrics."""
    benchmarks = benchmarks_of(config, ids["scorer"])
    settings = {
        "scorer_id": ids["scorer"],
        "groups": groups_of(config),
        "headline_group": config["headline_group"],
        "benchmarks": benchmarks,
        "seed": config["seed"],
        "absent": why_absent(config, ids["scorer"]),
    }
    if "dreambench" not in benchmarks:
        return settings
    simulated = config["dreambench"].get("simulated")
    return settings | ({"simulated": True} if simulated else {"dreambench": config["dreambench"]["ratings"]})


def groups_of(config: Config) -> Settings:
    """The selected groups of sources."""
    return {name: config["groups"][name] for name in config["select"]["groups"]}
