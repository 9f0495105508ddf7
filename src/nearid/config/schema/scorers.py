"""Scorers and the third benchmark."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nearid.config.schema.base import Benchmark, ConfigBlock, Id, Ids, Number, absent


class Scorer(ConfigBlock):
    """Something that gives two images a similarity."""

    display: str
    """Name shown in tables."""
    kind: Id
    """Module in nearid.scores.scorers."""
    backbone: Id = absent()
    """encoder: id in backbones."""
    readout: Literal["map", "mean"] = absent()
    """encoder: the model's own pooled output (`map`) or the mean of its patch tokens."""
    ablation: Id = absent()
    """head: id in ablations."""
    step: int = absent(ge=0)
    """head: score the state that `ablation` kept after this step (`keep_every_steps`) instead of its last one."""
    path: str = absent()
    """head: folder of a head trained elsewhere, instead of `ablation`; needs `backbone`."""
    model: str = absent()
    """Folder of a judge's or matcher's weights."""
    endpoint: str = absent(pattern=r"^https?://[^@?\s]+\Z")
    """vlm_judge: OpenAI-compatible server (`http://host:port/v1`) instead of `model`; no user, key or query in it.
    The only scorer that uses the network."""
    served_model: str = absent()
    """vlm_judge: name of the model on that server."""
    api_key_env: str = absent(pattern=r"^[A-Z][A-Z0-9_]*_API_KEY\Z")
    """vlm_judge: environment variable with the server's key, if it needs one (OPENAI_API_KEY when missing). Only a
    name that ends in `_API_KEY` is read, so that somebody else's config cannot send another secret."""
    timeout_s: Number = absent(gt=0)
    """vlm_judge: seconds to wait for a whole answer before asking again (120 when missing)."""
    concurrency: int = absent(ge=1)
    """vlm_judge: questions at a time (8 when missing)."""
    prompt: str = absent()
    """vlm_judge: text file with what it is asked, instead of our own words; `{image_a}`, `{image_b}`, `{lowest}`,
    `{highest}` are filled in, other braces are text."""
    wording: Literal["paper", "other"] = absent()
    """vlm_judge: whose words the file `prompt` holds: those of the `paper`'s figure 10, or `other` ones (when
    missing). Rows of other words are not comparable with the paper's."""
    max_new_tokens: int = absent(ge=1)
    """vlm_judge: length of an answer (512 when missing; shorter ones cut answers off)."""
    batch_size: int = absent(ge=1)
    """vlm_judge: pairs that a local model judges side by side; when missing as many as the GPU has room for, at most
    32, and 6 on a CPU."""
    offload: Literal["none", "model", "group"] = absent()
    """vlm_judge: for a GPU that is too small for `model`. With `model` as many layers stay on it as fit, with `group`
    a fifth of them; the others are kept in the machine's memory until they are needed, which is many times slower.
    None when missing."""
    package: str = absent()
    """vsm: folder of the authors' checkout, with its requirements installed."""
    hub: dict[str, str] = absent()
    """vsm: for each repository name that the checkout requests from the hub, the folder that is used instead."""
    distractor_masks: Literal["white", "own"] = absent()
    """vsm: a distractor counts with its whole image (`white`, the authors' run) or with its view's mask."""
    masks: Literal["cleaned", "raw"] = absent()
    """vsm: the masks of NearID-bench, `cleaned` and 0 or 1 (when missing), or `raw`: the grey values weigh the
    features, as in the authors' code; needs `dataset.keep_raw_masks`."""
    mask_resize: Literal["nearest", "bilinear"] = absent()
    """vsm: how masks are brought to the model's size: `nearest` (when missing) or `bilinear`, as in the authors'
    code."""
    ratings: str = absent()
    """Folder of released ratings."""
    bins: int = absent(ge=2)
    """colour_histogram: bins per channel."""
    shown_in: Ids = absent()
    """Tables and figures that show it, behind the paper's own rows."""
    choice: Id = absent()
    """Table `sensitivity`: the choice about training that this head represents. Heads of one choice differ by their
    seeds; the other choices are compared with the first."""
    paper_row: str = absent()
    """The row of the paper's tables that this scorer is compared with, and in which it is shown if the scorer of that
    id does not run; when missing, the row of the same id, if there is one."""
    m_h_from: Id = absent()
    """Scorer whose M-H the tables show in this scorer's row, if that scorer is selected: the paper mixes read-outs."""
    benchmarks: Ids = Field(default_factory=list)
    """Benchmarks it takes part in; empty means all that are selected."""
    lacks: dict[Benchmark, str] = Field(default_factory=dict)
    """Benchmarks that it cannot take part in here, and why: its cells stay empty with this reason."""


class SimulatedRaters(ConfigBlock):
    """Size of the simulated DreamBench++."""

    subjects: int = Field(30, ge=2, le=99)
    """Reference objects."""
    prompts: int = Field(3, ge=1)
    """Pictures of each object by each method."""


class Dreambench(ConfigBlock):
    """Where the third benchmark's files are."""

    ratings: str = "resources/dreambench_ratings"
    """Folder with the people's ratings, `data_human_rating/merged_data/group1` and `group2`."""
    simulated: SimulatedRaters = absent()
    """With rendered data, instead of ratings and samples: pictures by seven simulated methods, and raters who know what
    was changed."""
    samples: str = "resources/dreambench_samples"
    """Folder of the generated pictures; scorers of kind `ratings` need none."""
