"""Settings of the steps of the stage `paper`, as `nearid.config.paper_settings` makes them.

A key that does not apply to a run is missing from its settings; the defaults here mean no more than that.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from nearid.config.schema.base import Benchmark, absent
from nearid.config.schema.paper import Aim, Style
from nearid.config.settings import Settings
from nearid.config.settings.tokens import BackboneSettings
from nearid.config.types import Config


class Training(Settings):
    """What tables show of a head's training: objective with its params, number of sources, part edits."""

    objective: str
    params: dict[str, Any]
    sources: int
    mtg: bool


class Choice(Settings):
    """In a table of choices about training: the choice that a head represents, and its seed."""

    name: str
    seed: int


class Scorer(Settings):
    """A way to compare two images.

    Attributes:
        paper_row: id of its row in the paper's tables; empty if it has none.
        retrained: whether this run trains its head, so that another seed would give another head.
        training: how its head was trained, if it is one of this run's.
        m_h_from: the scorer whose M-H is shown in its row, where the paper uses another read-out.
        choice: the choice that it represents in a table of choices.
        other_prompt: whether it is a judge whose prompt is not the paper's.
    """

    id: str
    display: str
    kind: str
    paper_row: str
    retrained: bool
    training: Training | None = None
    m_h_from: str | None = None
    choice: Choice | None = None
    other_prompt: bool = False


class LeftOut(Scorer):
    """A scorer that is left out of a run, and why."""

    reason: str


class Source(Settings):
    """Where distractors come from; `working_px` is the side at which they were painted."""

    id: str
    display: str
    working_px: int


class Run(Settings):
    """The members of a run, in the config's order; what follows from them is in `nearid.paper.run`.

    Attributes:
        groups: sources by group, in any order (`nearid.paper.run.arrange_groups`).
        group_roles: which groups are of sources trained on (`train`) or not (`unseen`).
        official_splits: whether its test identities are the paper's.
        released: the sources whose distractors are the authors' own.
        left_out: scorers that were left out of it.
        stand_ins: whether its downloads are stand-ins (a rehearsal).
        simulated_raters: whether the raters of DreamBench++ are simulated (rendered data).
        differs: differences from the paper, in words: in the `data` that is scored, in the `training` of heads.
    """

    name: str
    seed: int
    dataset_kind: str
    scorers: list[Scorer]
    sources: list[Source]
    groups: dict[str, list[str]]
    group_roles: dict[str, Literal["train", "unseen"]]
    headline_group: str
    benchmarks: list[Benchmark]
    official_splits: bool
    released: list[str]
    left_out: list[LeftOut] = Field(default_factory=list)
    stand_ins: bool = False
    simulated_raters: bool = False
    differs: dict[Literal["data", "training"], list[str]] = Field(default_factory=dict)


class MakeTable(Settings):
    """What a table shows."""

    table: str
    run: Run


class Head(Settings):
    """A head whose training a figure shows."""

    id: str
    display: str


class DisplayNames(Settings):
    """The names that a figure shows for the heads that it compares, and for the source of its distractors."""

    frozen: str
    trained: str
    distractors: str


class ComputeFigure(Settings):
    """What a figure is computed from: its id, its seed, and what its entry in the config `needs`; other keys are None.

    Attributes:
        run: the scorers and sources shown (images, scores, metrics; for images alone no scorers).
        condition: whole images or foregrounds (as `run`).
        rows: how many identities or samples are shown (images).
        size_px: side of a shown image (images).
        ablation: the head shown, with the backbone that it was trained on (tokens).
        source: the source of the distractors whose tokens are shown (tokens).
        token_shards: how many shards there are, by collection (tokens).
        split: where the identities come from (tokens).
        identities: how many of them (tokens).
        timelapse: whether the kept heads are shown too (tokens).
        ablations: the heads shown (training_log).
        prompt: file with the judge's question (figure 10); ours if there is none.
    """

    figure: str
    seed: int
    run: Run = absent()
    condition: Literal["full", "fg"] = absent()
    rows: int = absent()
    size_px: int = absent()
    ablation: str = absent()
    backbone: BackboneSettings = absent()
    backbone_id: str = absent()
    source: str = absent()
    token_shards: dict[str, int] = absent()
    split: Literal["val", "test"] = absent()
    identities: int = absent()
    timelapse: bool = absent()
    display: DisplayNames = absent()
    ablations: list[Head] = absent()
    prompt: str | None = None


class PlotFigure(Settings):
    """How a figure looks."""

    figure: str
    style: Style


class CompareWithPaper(Settings):
    """What is compared with the paper's numbers: tables, and figure 4."""

    tables: dict[str, MakeTable]


class ShowIdentities(Settings):
    """What the browser shows."""

    run: Run


class Told(Settings):
    """Settings that page and summary have in common.

    Attributes:
        aims: what runs with several seeds should show.
        seed_table: file with the numbers of those runs, if there are aims.
    """

    run: Run
    aims: list[Aim] = Field(default_factory=list)
    seed_table: str = ""


class MakePage(Told):
    """What the page shows.

    Attributes:
        tables: by id.
        compared: what is compared with the paper's numbers, by id.
        figures: ids.
        gaps: what was left out, with the reason.
    """

    tables: dict[str, MakeTable]
    compared: dict[str, MakeTable]
    figures: list[str]
    gaps: dict[str, str] = Field(default_factory=dict)


class WriteSummary(Told):
    """What the summary says."""


class WriteManifest(Settings):
    """The whole config."""

    config: Config
