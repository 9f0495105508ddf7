"""What the paper stage knows of a run: its scorers, sources and groups (settings `run`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NOT_RUN = "not part of this run"
"""Why a row of the paper is empty that the config has no scorer for."""


@dataclass(frozen=True)
class Training:
    """What tables say of how a head was trained: objective with its params, sources of distractors, part edits."""

    objective: str
    params: Mapping[str, float]
    sources: int
    mtg: bool


@dataclass(frozen=True)
class Scorer:
    """A way to compare two images.

    Attributes:
        paper_row: id of its row in the paper's tables, if it has one.
        training: how its head was trained, if it is one of this run's.
        m_h_from: the scorer whose M-H stands in its row, where the paper takes another read-out there.
        choice: in a table of choices about training, which this head stands for, and its seed.
        other_prompt: whether it is a judge that was asked in other words than the paper's, be they ours.
        retrained: whether its head is trained by this run, which another seed would have made another.
    """

    id: str
    display: str
    kind: str
    paper_row: str | None = None
    training: Training | None = None
    m_h_from: str | None = None
    retrained: bool = False
    other_prompt: bool = False
    choice: tuple[str, int] | None = None


@dataclass(frozen=True)
class Source:
    """Where distractors come from; `working_px` is the side at which they were painted."""

    id: str
    display: str
    working_px: int | None = None


@dataclass(frozen=True)
class Run:
    """The members of a run, in the config's order.

    Attributes:
        stand_ins: whether its downloads are (a rehearsal).
        simulated_raters: whether those of DreamBench++ are (rendered data).
        group_roles: which groups are of sources trained on (`train`) or not (`unseen`).
        official_splits: whether its test identities are the paper's.
        released: the sources whose distractors are the authors' own.
        left_out: scorers that it would have, each with the reason why it is not here.
        differs: what is not the paper's, in words: of the `data` that is scored, of the `training` of heads.
    """

    name: str
    seed: int
    dataset_kind: str
    scorers: tuple[Scorer, ...]
    sources: tuple[Source, ...]
    groups: Mapping[str, tuple[str, ...]]
    headline_group: str
    benchmarks: tuple[str, ...]
    stand_ins: bool = False
    simulated_raters: bool = False
    group_roles: Mapping[str, str] = field(default_factory=dict)
    released: tuple[str, ...] = ()
    official_splits: bool = False
    left_out: tuple[tuple[Scorer, str], ...] = ()
    differs: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Run:
        """The run of a step's settings."""
        return cls(
            name=settings["name"],
            seed=settings["seed"],
            dataset_kind=settings["dataset_kind"],
            scorers=tuple(map(_read_scorer, settings["scorers"])),
            sources=tuple(
                Source(entry["id"], entry["display"], entry.get("working_px")) for entry in settings["sources"]
            ),
            # Settings come by JSON with sorted keys, or not; the order shown must not hang on that.
            groups=_arrange(settings["groups"], [entry["id"] for entry in settings["sources"]]),
            headline_group=settings["headline_group"],
            group_roles=settings.get("group_roles", {}),
            released=tuple(settings.get("released", ())),
            official_splits=settings.get("official_splits", False),
            benchmarks=tuple(settings["benchmarks"]),
            stand_ins=settings.get("stand_ins", False),
            simulated_raters=settings.get("simulated_raters", False),
            differs=settings.get("differs", {}),
            left_out=tuple((_read_scorer(entry), entry["reason"]) for entry in settings.get("left_out", ())),
        )

    def needed_metrics(self) -> list[str]:
        """Ids of all scorers whose metrics a table of this run reads."""
        return list(dict.fromkeys(id for scorer in self.scorers for id in (scorer.id, scorer.m_h_from) if id))

    def in_paper_row(self, paper_row: str) -> Scorer | None:
        """The first scorer that represents `paper_row` of the paper's tables."""
        return next((scorer for scorer in self.scorers if scorer.paper_row == paper_row), None)

    def in_role(self, role: str) -> list[str]:
        """The groups of this role (`train` | `unseen`), in the order of `groups`."""
        return [group for group in self.groups if self.group_roles.get(group) == role]

    def why_absent(self, stands: Callable[[Scorer], bool]) -> str:
        """Why there is no scorer that `stands` for something: it is left out, or there is none in the config."""
        return next((reason for scorer, reason in self.left_out if stands(scorer)), NOT_RUN)

    def group_of(self, source: str) -> str:
        """The smallest group that holds `source`: the others are pools of several."""
        holding = [group for group, sources in self.groups.items() if source in sources]
        return min(holding, key=lambda group: len(self.groups[group]), default="")

    def names_in(self, group: str) -> str:
        """Display names of a group's sources, in its order."""
        names = {source.id: source.display for source in self.sources}
        return "; ".join(names.get(source, source) for source in self.groups.get(group, ()))


def _arrange(groups: Mapping[str, Sequence[str]], sources: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Groups in the paper's order: by their first source, then those that hold whole other groups, by size."""
    places = {source: place for place, source in enumerate(sources)}

    def place(name: str) -> tuple[bool, int, int, str]:
        smaller = [other for other in groups if len(groups[other]) < len(groups[name])]
        pools = any(set(groups[other]) <= set(groups[name]) for other in smaller)
        first = min((places.get(source, len(places)) for source in groups[name]), default=0)
        return pools, len(groups[name]) if pools else first, first, name

    return {name: tuple(groups[name]) for name in sorted(groups, key=place)}


def _read_scorer(entry: Mapping[str, Any]) -> Scorer:
    return Scorer(
        entry["id"],
        entry["display"],
        entry["kind"],
        entry.get("paper_row") or None,
        Training(**entry["training"]) if entry.get("training") else None,
        entry.get("m_h_from"),
        entry.get("retrained", False),
        entry.get("other_prompt", False),
        (entry["choice"]["name"], entry["choice"]["seed"]) if entry.get("choice") else None,
    )
