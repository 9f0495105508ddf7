"""The config, one module per block: every key with its type, limits, default and, in the string below it, its meaning.

config/README.md and config/schema.json (for editors) are made from it (`make docs`). A key that is not here is an
error. Units are part of a key's name. Only code that reads a config imports this package: pydantic takes a moment.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nearid.config.schema.ablations import Ablation, Mix
from nearid.config.schema.backbones import Backbone, Tokens
from nearid.config.schema.base import ConfigBlock, Id, Ids, Number, block
from nearid.config.schema.dataset import Dataset
from nearid.config.schema.downloads import Download
from nearid.config.schema.paper import Paper
from nearid.config.schema.scorers import Dreambench, Scorer
from nearid.config.schema.select import Select
from nearid.config.schema.sources import AnySource, QualitySheet
from nearid.config.schema.training import SharedTraining


class Root(ConfigBlock):
    """A whole config."""

    name: Id
    """Names the results folder, `<results_dir>/<name>`."""
    results_dir: str = Field("results", pattern=r"^[^{}\x00-\x1f\x7f]+\Z")
    """Folder of all results; without braces, which Snakemake would interpret, and without control characters."""
    seed: int = Field(0, ge=0)
    """Seed of everything drawn (identities, splits, distractors, heads, examples shown)."""
    protect: bool = False
    """Write-protect distractors and heads, which cost GPU hours; see docs/reruns.md."""
    painting_minutes: Number = Field(90, gt=0)
    """Painting a shard is divided into jobs of about this many minutes, by the source's `seconds_per_image`;
    changes no image."""
    mirror: str = ""
    """A folder that takes the place of the hub, for a machine without a network: the files of each download in
    `<mirror>/<id>`; empty: the hub itself."""
    stand_ins: bool = False
    """The downloads are small stand-ins (set by `nearid rehearse`): page and summary say that no number means
    anything."""
    on_missing: Literal["stop", "gap"] = "stop"
    """What happens before the first job if a download, checkout or folder that a step will read is missing: `stop`
    with a list of everything that is missing, or leave out what needs it as a `gap`, with the reason in tables,
    figures and page."""
    photos_dir: str = ""
    """`dataset.image_folder.path` for the command line: `--config photos_dir=PATH` (nested keys cannot be given
    there)."""
    dataset: Dataset
    """The identities that distractors, tokens, heads and scores are made from."""
    downloads: dict[Id, Download] = Field(default_factory=dict)
    """What `resources/<id>` must hold; any path in this config that starts so makes the workflow fetch it. The
    models and data sets of the paper are known (src/nearid/config/facts.yaml): an entry is needed for others,
    or for another `revision`."""
    sources: dict[Id, AnySource]
    """Catalogue of distractor sources: an engine and its settings."""
    released: dict[Id, str] = Field(default_factory=dict)
    """Source -> folder of its released distractors, which are then read instead of painted (config/released.yaml)."""
    quality_sheet: QualitySheet = block(QualitySheet)
    """What the sheets of `snakemake quality_sheets` show for each selected source."""
    backbones: dict[Id, Backbone]
    """Catalogue of frozen image encoders."""
    tokens: Tokens = block(Tokens)
    """How tokens are extracted, by every backbone."""
    mixes: dict[Id, Mix]
    """Catalogue of training mixtures."""
    training: SharedTraining
    """How every head is trained, unless its ablation says otherwise."""
    ablations: dict[Id, Ablation] = Field(default_factory=dict)
    """Catalogue of heads: each entry is one training run, and a scorer of the same id."""
    scorers: dict[Id, Scorer] = Field(default_factory=dict)
    """Catalogue of scorers, which give two images a similarity. Every head is a scorer without an entry here, with the
    head's id and display."""
    dreambench: Dreambench = block(Dreambench)
    """Where the third benchmark's files are."""
    groups: dict[Id, Ids] = Field(default_factory=dict)
    """Sets of sources whose metrics are pooled; a group that is not listed has the sources whose entries name it."""
    group_roles: dict[Id, Literal["train", "unseen"]] = Field(default_factory=dict)
    """Role of a group of sources in the effects that the page shows."""
    headline_group: Id = "main7"
    """The group of the headline numbers."""
    select: Select = block(Select)
    """What this run makes, by ids of the catalogues above. A catalogue that is not listed here is selected as a whole,
    as far as the rest of the selection allows."""
    paper: Paper = block(Paper)
    """What the tables and figures show. The paper's own are known (src/nearid/config/rows.py): entries change
    them, or add others."""
