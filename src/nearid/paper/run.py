"""Look-ups among a run's scorers, sources and groups (`nearid.config.settings.paper.Run`)."""

from __future__ import annotations

from collections.abc import Callable

from nearid.config.settings.paper import Run, Scorer

NOT_RUN = "not part of this run"
"""The reason in a row of the paper for which the config has no scorer."""


def list_measured(run: Run) -> list[str]:
    """Ids of all scorers whose metrics a table of `run` reads."""
    return list(dict.fromkeys(id for scorer in run.scorers for id in (scorer.id, scorer.m_h_from) if id))


def find_scorer(run: Run, paper_row: str) -> Scorer | None:
    """The first scorer that represents `paper_row` of the paper's tables."""
    return next((scorer for scorer in run.scorers if scorer.paper_row == paper_row), None)


def explain_absence(run: Run, stands: Callable[[Scorer], bool]) -> str:
    """Why no scorer of the run `stands` for something: it was left out, or the config has none."""
    return next((scorer.reason for scorer in run.left_out if stands(scorer)), NOT_RUN)


def arrange_groups(run: Run) -> dict[str, list[str]]:
    """Groups in the paper's order: by their first source, then those that contain whole other groups, by size.

    Settings may come as JSON with sorted keys; the order shown must not depend on that.
    """
    places = {source.id: place for place, source in enumerate(run.sources)}

    def place(name: str) -> tuple[bool, int, int, str]:
        own = run.groups[name]
        smaller = [other for other in run.groups.values() if len(other) < len(own)]
        pools = any(set(other) <= set(own) for other in smaller)
        first = min((places.get(source, len(places)) for source in own), default=0)
        return pools, len(own) if pools else first, first, name

    return {name: run.groups[name] for name in sorted(run.groups, key=place)}


def find_groups(run: Run, role: str) -> list[str]:
    """The groups of this role (`train` | `unseen`), in the paper's order."""
    return [group for group in arrange_groups(run) if run.group_roles.get(group) == role]


def find_group(run: Run, source: str) -> str:
    """The smallest group that contains `source`; larger ones pool several groups."""
    holding = [group for group, sources in arrange_groups(run).items() if source in sources]
    return min(holding, key=lambda group: len(run.groups[group]), default="")


def name_sources(run: Run, group: str) -> str:
    """Display names of a group's sources, in its order."""
    names = {source.id: source.display for source in run.sources}
    return "; ".join(names.get(source, source) for source in run.groups.get(group, ()))
