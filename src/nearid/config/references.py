"""Checks that every id in the config exists in its catalogue, and that what is selected is complete."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from nearid.config.gaps import droppable, needs_identities
from nearid.config.members import objective_params
from nearid.config.steps import drawn_collections, entry_of, training_of
from nearid.config.types import Config
from nearid.config.variants import WHOLE, versions
from nearid.errors import UserError

NEEDED: dict[str, tuple[str, ...]] = {"hub": ("kind",), "git": ("revision",), "url": ("sha256",), "hand": ()}
"""Where a download may come from, and the keys that each place needs."""
_BOUNDS = ("at_least", "at_most", "above", "spreads")
SCORER_KEYS = {
    "encoder": ("backbone", "readout"),
    "ratings": ("benchmarks",),
}


def check_references(config: Config) -> None:
    """Check that ids exist, and that what is selected has all that it needs.

    Raises:
        UserError: an id is not in its catalogue, or something selected needs what is not selected.
    """
    select, paper = config["select"], config["paper"]
    for catalogue, chosen in (
        (config["sources"], "sources"),
        (config["ablations"], "ablations"),
        (config["scorers"], "scorers"),
        (config["groups"], "groups"),
        (paper["tables"], "tables"),
        (paper["figures"], "figures"),
    ):
        _known(select[chosen], catalogue, f"select.{chosen}")
    _known(config["released"], config["sources"], "released")
    for name, entry in config["downloads"].items():
        _check_download(name, entry)
    for name, sources in config["groups"].items():
        _known(sources, config["sources"], f"groups.{name}")
    _known(config["group_roles"], config["groups"], "group_roles")
    for name, mix in config["mixes"].items():
        _known(mix["sources"], config["sources"], f"mixes.{name}.sources")
        _known(mix["severities"], mix["sources"], f"mixes.{name}.severities")
    _known([config["training"]["backbone"]], config["backbones"], "training.backbone")
    for name, ablation in config["ablations"].items():
        _known([ablation["mix"]], config["mixes"], f"ablations.{name}.mix")
        params = objective_params(ablation["objective"])
        if params is not None:  # else `check_members` says that the objective is missing
            _known(ablation["params"], params, f"ablations.{name}.params")
        if "backbone" in ablation["training"]:
            _known([ablation["training"]["backbone"]], config["backbones"], f"ablations.{name}.training.backbone")
        training = training_of(config, name)
        if training.get("masks") == "raw":
            _check_raw_masks(config, f"ablations.{name}.training.masks", training["tokens"])
        if training["tokens"] == "cached":
            versions(WHOLE, training["augmentation"], training["augmented_draws"])
    for name, scorer in config["scorers"].items():
        _check_scorer(name, scorer, config)
    for name, table in paper["tables"].items():
        _known(table["scorers"], config["scorers"], f"paper.tables.{name}.scorers")
    for name, aim in paper["aims"].items():
        for catalogue, keys in (("scorers", ("scorer", "less")), ("groups", ("group", "less_group"))):
            _known([aim[key] for key in keys if key in aim], config[catalogue], f"paper.aims.{name}")
        if not any(key in aim for key in _BOUNDS):
            raise UserError(f"config, key paper.aims.{name}", "no bound", f"one of {', '.join(_BOUNDS)}", "add one")
    _check_selection(config)


def check_named(config: Config) -> None:
    """Check that `select.add` and `select.drop` name known ids.

    Raises:
        UserError: an unknown id.
    """
    for key in ("add", "drop"):
        _known(config["select"].get(key, ()), sorted(droppable(config)), f"select.{key}")


def _check_raw_masks(config: Config, where: str, tokens: str = "online") -> None:
    if not config["dataset"]["keep_raw_masks"]:
        raise UserError(
            f"config, key {where}", "raw, and only cleaned masks are kept", "`dataset.keep_raw_masks: true`", "set it"
        )
    if tokens != "online":
        raise UserError(
            f"config, key {where}",
            f"raw, with {tokens} tokens",
            "`training.tokens: online`: the cache holds the foregrounds of the cleaned masks",
            "set it, or leave `masks` out",
        )


def _check_download(name: str, entry: Mapping[str, Any]) -> None:
    where, places = f"config, key downloads.{name}", [key for key in NEEDED if key in entry]
    if len(places) != 1:
        found = " and ".join(places) or "no place"
        raise UserError(where, found, f"one of {', '.join(NEEDED)}", "name one place")
    for key in NEEDED[places[0]]:
        if not entry.get(key):
            raise UserError(f"{where}.{key}", "nothing", f"with `{places[0]}`, {key} too", "add it")
    if "git" in entry and not re.fullmatch("[0-9a-f]{40}", entry["revision"]):
        raise UserError(f"{where}.revision", repr(entry["revision"]), "the 40 digits of a commit", "write them")


def _check_scorer(name: str, scorer: Mapping[str, Any], config: Config) -> None:
    where = f"scorers.{name}"
    # For a head trained elsewhere, the entry says where it is and which backbone's tokens it reads.
    foreign = scorer["kind"] == "head" and "path" in scorer
    for key in ("backbone",) if foreign else SCORER_KEYS.get(scorer["kind"], ()):
        if key not in scorer:
            raise UserError(f"config, key {where}.{key}", "nothing", f"kind {scorer['kind']} needs it", "add it")
    # An overlay that sets `endpoint` sets `model` to an empty text, since it cannot remove a key.
    if scorer["kind"] == "vlm_judge" and bool(scorer.get("model")) == bool(scorer.get("endpoint")):
        raise UserError(f"config, key {where}", "model and endpoint, or neither", "one of the two", "correct the entry")
    _check_keys(where, entry_of(config, "scorers", name))
    if "backbone" in scorer:
        _known([scorer["backbone"]], config["backbones"], f"{where}.backbone")
    if "m_h_from" in scorer:
        _known([scorer["m_h_from"]], config["scorers"], f"{where}.m_h_from")
    if "ablation" in scorer:
        _known([scorer["ablation"]], config["ablations"], f"{where}.ablation")
    if scorer.get("masks") == "raw":
        _check_raw_masks(config, f"{where}.masks")
    if "choice" in scorer and "ablation" not in scorer:
        raise UserError(
            f"config, key {where}.choice", scorer["choice"], "a choice about a trained head", "leave it out"
        )
    if "step" in scorer and not ("ablation" in scorer and training_of(config, scorer["ablation"])["keep_every_steps"]):
        raise UserError(
            f"config, key {where}.step",
            f"{scorer['step']}, of a head that keeps none",
            "an `ablation` whose training has `keep_every_steps`",
            "set it, or leave `step` out",
        )


def _check_keys(where: str, scorer: Mapping[str, Any]) -> None:
    """Check that a scorer has all keys that its kind needs and no other; a kind of your own checks this itself."""
    from nearid.config.schema.walking import model_of
    from nearid.config.settings.scores import AnyScorer, OwnScorer

    kind, model = scorer["kind"], model_of(AnyScorer, scorer)
    if model is None or issubclass(model, OwnScorer):
        return
    for key in scorer:
        if key not in model.model_fields:
            found, known = f"a key that kind {kind} does not have", nearest(key, model.model_fields)
            raise UserError(f"config, key {where}.{key}", found, known, "leave it out")
    for key, field in model.model_fields.items():
        if field.is_required() and key not in scorer:
            raise UserError(f"config, key {where}.{key}", "nothing", f"kind {kind} needs it", "add it")


def _check_selection(config: Config) -> None:
    select, paper = config["select"], config["paper"]
    if needs_identities(config):
        _selected([config["headline_group"]], select["groups"], "headline_group", "select.groups")
    for group in select["groups"]:
        _selected(config["groups"][group], select["sources"], f"select.groups ({group})", "select.sources")
    for scorer in select["scorers"]:
        if "ablation" in config["scorers"][scorer]:
            ablation = config["scorers"][scorer]["ablation"]
            _selected([ablation], select["ablations"], f"scorers.{scorer}.ablation", "select.ablations")
    for name in select["ablations"]:
        mix = config["mixes"][config["ablations"][name]["mix"]]
        _selected(mix["sources"], select["sources"], f"ablations.{name} (its mix)", "select.sources")
        if not drawn_collections(config, name):
            raise UserError(
                f"config, key ablations.{name}.mix", "no rows at all", "sources or MTG copies", "correct the mix"
            )
    for name in select["tables"]:
        shown = [scorer for scorer in paper["tables"][name]["scorers"] if scorer not in select["drop"]]
        _selected(shown, select["scorers"], f"paper.tables.{name}.scorers", "select.scorers")
    for name in select["figures"]:
        figure, where = paper["figures"][name], f"paper.figures.{name}"
        _selected(figure["scorers"], select["scorers"], f"{where}.scorers", "select.scorers")
        _selected(figure["sources"], select["sources"], f"{where}.sources", "select.sources")
        _selected([figure["ablation"]] if "ablation" in figure else [], select["ablations"], where, "select.ablations")
        if "tokens" in figure["needs"] and "ablation" not in figure:
            raise UserError(f"config, key {where}.ablation", "nothing", "a figure from tokens needs a head", "add it")


def _known(ids: Iterable[str], catalogue: Iterable[str], where: str) -> None:
    known = list(catalogue)
    for name in ids:
        if name not in known:
            raise UserError(f"config, key {where}", f"the unknown id `{name}`", nearest(name, known), "correct the id")


def _selected(ids: Iterable[str], chosen: Iterable[str], where: str, selection: str) -> None:
    missing = sorted(set(ids) - set(chosen))
    if missing:
        raise UserError(
            f"config, key {where}",
            f"{', '.join(missing)}, not in {selection}",
            "only what this run makes",
            f"add it to {selection}, or leave it out here",
        )


def nearest(wrong: object, known: Iterable[object]) -> str:
    """`one of a, b, c`, preceded by the one that was probably meant."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(str(wrong), names, n=1)
    listed = f"one of {', '.join(sorted(names))}" if names else "nothing (no such id exists)"
    return f"did you mean `{close[0]}`? ({listed})" if close else listed


def place(path: Iterable[object]) -> str:
    """A key of the config, as errors name it."""
    return "config, key " + (".".join(map(str, path)) or "(top)")
