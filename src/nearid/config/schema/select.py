"""What a run makes."""

from __future__ import annotations

from pydantic import Field

from nearid.config.schema.base import Benchmark, ConfigBlock, Id, Ids, Unique, absent


class Select(ConfigBlock):
    """What this run makes, by ids."""

    sources: Ids = absent()
    """Distractor sources to make and to evaluate."""
    ablations: Ids = absent()
    """Heads to train."""
    scorers: Ids = absent()
    """Scorers to evaluate; when missing all but those of heads that are not trained."""
    benchmarks: Unique[Benchmark] = absent()
    """Benchmarks to run."""
    groups: Ids = absent()
    """Groups to pool; all their sources must be selected."""
    tables: Ids = absent()
    """Tables to make; when missing, those with a row in this run."""
    figures: Ids = absent()
    """Figures to make; when missing, those that show something in this run."""
    add: Ids = absent()
    """Ids to make in addition: for an overlay on top of one that lists its selection, since lists are replaced."""
    drop: Ids | dict[Id, str] = Field(default_factory=dict)
    """What to leave out everywhere, by id (sources, ablations, scorers, benchmarks, tables, figures): a list, or a
    mapping from ids to the reasons that tables and page give. What cannot be made without it is left out too."""
