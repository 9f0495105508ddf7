"""What tables and figures show."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nearid.config.schema.base import Benchmark, Id, Ids, Number, Part, Unique, absent, block


class Style(Part):
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


class Table(Part):
    """What a table shows."""

    scorers: Ids = absent()
    """Rows (or column pairs) in this order; when missing, the paper's that run."""


class Figure(Part):
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
    """Where its identities are taken from."""
    identities: int = Field(7, ge=1)
    """How many identities."""
    condition: Literal["full", "fg"] = "full"
    """Whole images or foregrounds."""
    size_px: int = Field(112, ge=16)
    """Side of a shown image in pixels."""
    seed: int = absent(ge=0)
    """Seed of the choice; the config's seed when it is missing."""
    animate: bool = False
    """Also animate over the kept checkpoints."""
    style: Style = block(Style)
    """Appearance only: a change plots again and computes nothing."""


class Paper(Part):
    """The tables and figures."""

    tables: dict[Id, Table] = Field(default_factory=dict)
    """A module in nearid.paper.tables per id."""
    figures: dict[Id, Figure] = Field(default_factory=dict)
    """A module in nearid.paper.figures per id."""
