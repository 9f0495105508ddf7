"""What a run leaves out (`select.drop`), and what cannot be made without that.

The reasons stay in the config (`select.drop` becomes id -> reason): tables, figures and the page show them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from nearid.config.steps import BENCHMARKS, backbone_of, benchmarks_of, drawn_collections, training_of
from nearid.config.types import Config, MutableConfig

LEFT_OUT = "left out of this run (`select.drop`)"
CATALOGUES = ("sources", "ablations", "scorers", "groups", "tables", "figures", "benchmarks")
"""Lists in `select` whose ids may be dropped."""


def droppable(config: Config) -> set[str]:
    """Every id that `select.drop` may name."""
    known = set(BENCHMARKS)
    for catalogue in (config, config["paper"]):
        for name in CATALOGUES:
            known |= set(catalogue.get(name, {}))
    return known


def leave_out(config: MutableConfig) -> None:
    """Remove from `config` what `select.drop` names, and what cannot be made without it.

    Sources are removed from groups and mixes too. A head with nothing to draw, a scorer without its head or benchmarks,
    and a figure or table with nothing to show are also removed; the reason then names what they lack. Calling it again
    changes nothing.
    """
    select = config["select"]
    given = select["drop"]
    reasons: dict[str, str] = dict(given) if isinstance(given, dict) else dict.fromkeys(given, LEFT_OUT)
    select["drop"] = reasons
    if not reasons and not any(scorer["lacks"] for scorer in config["scorers"].values()):
        return

    def keep(kind: str, why: Callable[[str], str]) -> None:
        """Remove what has a reason; `why` gives one that follows from other removals, or an empty text."""
        for name in select[kind]:
            if name not in reasons and (reason := why(name)):
                reasons[name] = reason
        select[kind] = [name for name in select[kind] if name not in reasons]

    def following(names: Iterable[str], what: str) -> str:
        """The reason to remove something that needs one of `names`: none of them is left; empty if one is."""
        names = list(names)
        gone = [name for name in names if name in reasons]
        return f"{what} ({gone[0]}: {reasons[gone[0]]})" if names and len(gone) == len(names) else ""

    keep("benchmarks", lambda name: "")
    sources_of = {name: list(mix["sources"]) for name, mix in config["mixes"].items()}
    keep("sources", lambda name: "")
    keep("groups", lambda name: following(config["groups"][name], "none of its sources is in this run"))
    for name, sources in config["groups"].items():
        config["groups"][name] = _without(sources, reasons)
    for mix in config["mixes"].values():
        mix["sources"] = _without(mix["sources"], reasons)
        mix["severities"] = {name: share for name, share in mix["severities"].items() if name not in reasons}

    def why_no_head(name: str) -> str:
        if drawn_collections(config, name):
            return ""
        drawn = sources_of[config["ablations"][name]["mix"]]
        return following(drawn, "its mixture has nothing left") or "its mixture has nothing left"

    def why_no_scorer(name: str) -> str:
        scorer = config["scorers"][name]
        if scorer.get("ablation") in reasons:
            return f"its head is left out: {reasons[scorer['ablation']]}"
        if benchmarks_of(config, name):
            return ""
        own = scorer["benchmarks"] or BENCHMARKS
        lacking = [
            f"{name}: {(reasons | scorer['lacks']).get(name)}" for name in own if name in reasons | scorer["lacks"]
        ]
        return f"none of its benchmarks is in this run ({lacking[0]})" if lacking else ""

    def why_no_figure(name: str) -> str:
        figure = config["paper"]["figures"][name]
        if figure.get("ablation") in reasons:
            return f"its head is left out: {reasons[figure['ablation']]}"
        if figure.get("benchmark") in reasons:
            return f"its benchmark is left out: {reasons[figure['benchmark']]}"
        shown = figure["scorers"] or select["scorers"]
        if figure.get("benchmark") and shown:
            lacking = {
                name: config["scorers"][name]["lacks"].get(figure["benchmark"]) or reasons.get(name) for name in shown
            }
            if all(lacking.values()):
                return f"nobody whom it shows has scores ({shown[0]}: {lacking[shown[0]]})"
        for kind in ("scorers", "sources", "ablations"):
            if reason := following(figure[kind], f"none of its {kind} is in this run"):
                return reason
        return ""

    keep("ablations", why_no_head)
    keep("scorers", why_no_scorer)
    keep("figures", why_no_figure)
    for figure in config["paper"]["figures"].values():
        for kind in ("scorers", "sources", "ablations"):
            figure[kind] = _without(figure[kind], reasons)
    tables = config["paper"]["tables"]
    keep("tables", lambda name: following(tables[name]["scorers"], "none of its scorers is in this run"))


def needs_identities(config: Config) -> bool:
    """Whether anything selected is made from the data set; scores of ratings alone need none."""
    select, figures = config["select"], config["paper"]["figures"]
    shown = {need for name in select["figures"] for need in figures[name]["needs"]}
    benched = "nearid_bench" in select["benchmarks"] and any(
        "nearid_bench" in benchmarks_of(config, name) for name in select["scorers"]
    )
    return bool(select["sources"] or select["ablations"] or benched or {"images", "tokens"} & shown)


def without_identities(config: MutableConfig, reason: str) -> None:
    """Add everything that is made from the data set to `select.drop`, with `reason`."""
    select, figures = config["select"], config["paper"]["figures"]
    pictured = [
        name for name in select["figures"] if {"images", "tokens", "training_log"} & set(figures[name]["needs"])
    ]
    counted = [name for name in select["tables"] if name == "data"]
    gone = [*select["sources"], *select["ablations"], *select["groups"], *counted, *pictured]
    select["drop"] |= dict.fromkeys(["nearid_bench", *gone], reason)


def without_backbone(config: MutableConfig, backbone: str, reason: str) -> None:
    """Add all heads and scorers of a backbone to `select.drop`, with `reason`."""
    select = config["select"]
    heads = [name for name in config["ablations"] if training_of(config, name)["backbone"] == backbone]
    scorers = [name for name in select["scorers"] if backbone_of(config, name) == backbone]
    select["drop"] |= dict.fromkeys([*heads, *scorers], reason)


def _without(names: Iterable[str], reasons: Mapping[str, str]) -> list[str]:
    return [name for name in names if name not in reasons]
