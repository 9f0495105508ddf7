"""What the paper stage knows of a run: its scorers, sources and groups (docs/architecture.md, settings `run`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
        other_prompt: whether it is a judge that was asked in other words than ours and the paper's.
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
        group_roles: which groups are of sources trained on (`train`) or not (`unseen`).
        official_splits: whether its test identities are the paper's.
        released: the sources whose distractors are the authors' own.
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
    group_roles: Mapping[str, str] = field(default_factory=dict)
    released: tuple[str, ...] = ()
    official_splits: bool = False

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Run:
        """The run of a step's settings."""
        return cls(
            name=settings["name"],
            seed=settings["seed"],
            dataset_kind=settings["dataset_kind"],
            scorers=tuple(
                Scorer(
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
                for entry in settings["scorers"]
            ),
            sources=tuple(
                Source(entry["id"], entry["display"], entry.get("working_px")) for entry in settings["sources"]
            ),
            # Settings come by JSON with sorted keys, or not; the order shown must not hang on that.
            groups={
                group: tuple(settings["groups"][group])
                for group in sorted(settings["groups"], key=lambda name: (name == settings["headline_group"], name))
            },
            headline_group=settings["headline_group"],
            group_roles=settings.get("group_roles", {}),
            released=tuple(settings.get("released", ())),
            official_splits=settings.get("official_splits", False),
            benchmarks=tuple(settings["benchmarks"]),
            stand_ins=settings.get("stand_ins", False),
        )

    def needed_metrics(self) -> list[str]:
        """Ids of all scorers whose metrics a table of this run reads."""
        return list(dict.fromkeys(id for scorer in self.scorers for id in (scorer.id, scorer.m_h_from) if id))

    def in_paper_row(self, paper_row: str) -> Scorer | None:
        """The first scorer that stands for `paper_row` of the paper's tables."""
        return next((scorer for scorer in self.scorers if scorer.paper_row == paper_row), None)

    def in_role(self, role: str) -> list[str]:
        """The groups of this role (`train` | `unseen`), in the order of `groups`."""
        return [group for group in self.groups if self.group_roles.get(group) == role]

    def group_of(self, source: str) -> str:
        """The first group that holds `source`, preferring those that are not the headline."""
        holding = [group for group, sources in self.groups.items() if source in sources]
        return next((group for group in holding if group != self.headline_group), holding[0] if holding else "")

    def names_in(self, group: str) -> str:
        """Display names of a group's sources, in its order."""
        names = {source.id: source.display for source in self.sources}
        return "; ".join(names.get(source, source) for source in self.groups[group])
