"""What tables and figures show."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nearid.config.schema.base import Benchmark, ConfigBlock, Id, Ids, Number, Unique, absent, block


class Style(ConfigBlock):
    """How a figure looks."""

    width_in: Number = absent(gt=0)
    """Width in inches."""
    height_in: Number = absent(gt=0)
    """Height in inches."""
    dpi: int = absent(ge=30)
    """Resolution of the PNG."""
    marker_size: Number = absent(gt=0)
    """Size of markers in points squared."""
    font_size: Number = absent(gt=0)
    """Font size in points."""
    palette: list[str] = absent()
    """Colours in order."""
    frame_ms: int = absent(ge=10)
    """Milliseconds per frame of an animation."""


class Table(ConfigBlock):
    """What a table shows."""

    scorers: Ids = absent()
    """Rows (or column pairs) in this order; when missing, the paper's that run."""


class Figure(ConfigBlock):
    """What a figure shows."""

    needs: Unique[Literal["images", "tokens", "scores", "metrics", "training_log"]]
    """What the figure is computed from."""
    scorers: Ids = Field(default_factory=list)
    """Scorers shown; when missing, those of the paper's figure that run; empty means all that are selected."""
    sources: Ids = Field(default_factory=list)
    """Sources shown; empty means all that are selected."""
    ablation: Id = absent()
    """The head shown (figures from tokens)."""
    ablations: Ids = Field(default_factory=list)
    """The heads shown (figures from training logs); when missing, those of the paper's figure that run; empty means
    all that are selected."""
    benchmark: Benchmark = absent()
    """Benchmark whose scores the figure shows; if the benchmark is left out, so is the figure."""
    split: Literal["val", "test"] = "val"
    """The split that its identities are taken from."""
    identities: int = Field(7, ge=1)
    """How many identities."""
    condition: Literal["full", "fg"] = "full"
    """Whole images or foregrounds."""
    size_px: int = Field(112, ge=16)
    """Side of a shown image in pixels."""
    seed: int = absent(ge=0)
    """Seed for choosing what is shown; the config's seed when it is missing."""
    animate: bool = False
    """Also animate over the kept checkpoints."""
    style: Style = block(Style)
    """Appearance only: a change plots again and computes nothing."""


class Aim(ConfigBlock):
    """What runs with several seeds should show: a bound for a scorer's metric, or for its lead over another scorer."""

    claim: str
    """The claim in words."""
    scorer: Id
    """The scorer whose metric is bounded."""
    metric: Literal["ssr", "pa", "mtg_ssr", "mtg_pa", "m_o", "m_o_pair", "m_h"]
    """The metric, in percent (`m_o`, `m_o_pair`, `m_h`: a correlation)."""
    group: Id = absent()
    """Sources over which `ssr` and `pa` are pooled; the headline group when missing."""
    less: Id = absent()
    """The scorer whose metric is subtracted; the same scorer when only `less_group` is given."""
    less_group: Id = absent()
    """The group over which the subtracted metric is pooled; `group` when missing."""
    at_least: Number = absent()
    """The least mean over the runs."""
    at_most: Number = absent()
    """The largest mean over the runs."""
    above: Number = absent()
    """What the mean over the runs must exceed."""
    spreads: Number = absent(gt=0)
    """How many times the spread over the runs a lead must exceed: the largest of both scorers' and of the lead's."""


class Paper(ConfigBlock):
    """The tables and figures."""

    tables: dict[Id, Table] = Field(default_factory=dict)
    """A module in nearid.paper.tables per id."""
    figures: dict[Id, Figure] = Field(default_factory=dict)
    """A module in nearid.paper.figures per id."""
    seed_table: str = ""
    """Numbers of whole runs that differ in `seed`: the `seeds.csv` of `nearid paper seeds`. Page and summary then say
    which of the `aims` hold there; if empty, they say nothing about aims."""
    aims: dict[Id, Aim] = Field(default_factory=dict)
    """What those runs should show."""
