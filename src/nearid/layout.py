"""The paths inside a results folder: the only place that knows file names (docs/formats.md)."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from nearid.io.paths import below


def shard_ids(count: int) -> list[str]:
    """Ids `000`, `001`, … of `count` shards."""
    return [f"{number:03d}" for number in range(count)]


@dataclass(frozen=True)
class Layout:
    """Paths under `root` = results/<name>. Ids may be Snakemake wildcards such as `{shard}`: no file is accessed.

    Raises:
        UserError: an id would lead out of its folder.
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))

    def file_list(self, path: str) -> Path:
        """List of the files that a user's file or folder held when the workflow was last planned."""
        name = re.sub(r"[^A-Za-z0-9]+", "_", Path(path).name).strip("_")[:40]
        return self.root / "inputs" / f"{name}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}.tsv"

    # data
    def positives(self, shard: str) -> Path:
        """Rows of identities: views, masks, text."""
        return below(self.root, "data", "positives", f"{shard}.parquet")

    @property
    def identities(self) -> Path:
        """One light row per identity."""
        return below(self.root, "data", "identities.parquet")

    @property
    def splits(self) -> Path:
        """Row positions of train, val and test."""
        return below(self.root, "data", "splits.json")

    @property
    def dropped(self) -> Path:
        """Every dropped record with its reason."""
        return below(self.root, "data", "dropped.tsv")

    @property
    def funnel(self) -> Path:
        """How many identities each step of the curation kept and dropped, beside the paper's counts."""
        return below(self.root, "data", "funnel.tsv")

    @property
    def raters(self) -> Path:
        """Samples and ratings of simulated raters, laid out as DreamBench++'s release."""
        return below(self.root, "data", "raters")

    def mtg(self, split: str) -> Path:
        """The part-edit set; `split` is train or test."""
        return below(self.root, "data", "mtg", f"{split}.parquet")

    # distractors
    def distractors(self, source: str, shard: str) -> Path:
        """Distractors of one source, row-aligned with the positives' shard."""
        return below(self.root, "distractors", source, f"{shard}.parquet")

    def painted(self, source: str, shard: str, part: int | str, parts: int | str) -> Path:
        """Marker of a painted part of a shard, whose images are in `.progress`; deleted once the shard is written."""
        return below(self.root, "distractors", source, f"{shard}.{part}of{parts}")

    def distractor_report(self, source: str, shard: str) -> Path:
        """Counts, retries, empty slots and their reasons."""
        return below(self.root, "distractors", source, f"{shard}.report.json")

    def quality(self, source: str, suffix: str) -> Path:
        """Numbers (json) and examples (png) of one source."""
        return below(self.root, "distractors", source, f"quality.{suffix}")

    # tokens
    def tokens(self, backbone: str, collection: str, shard: str = "000") -> Path:
        """Patch tokens; `collection` is `positives`, a source, `mtg_train` or `mtg_test` (these two: one shard)."""
        return below(self.root, "tokens", backbone, collection, f"{shard}.h5")

    # heads
    @property
    def image_copies(self) -> Path:
        """Undeclared folder of unpacked images that heads with `tokens: online` read; free to delete between runs."""
        return below(self.root, "heads", ".images")

    def head(self, ablation: str) -> Path:
        """The folder of one trained head."""
        return below(self.root, "heads", ablation)

    def head_file(self, ablation: str, name: str = "head.safetensors") -> Path:
        """One file of a head: head.safetensors, config.json, log.jsonl, provenance.json, timelapse.safetensors."""
        return below(self.head(ablation), name)

    def waiting_head(self, ablation: str) -> Path:
        """A finished head that another head's job trained, kept here (undeclared) until its own job takes it."""
        return below(self.head(ablation), ".waiting")

    def pack(self, pack: str) -> Path:
        """Folder whose lock is held by the job that trains the pack's heads; `pack` is the name of any of them."""
        return below(self.root, "heads", ".packs", pack)

    # scores
    def scores(self, scorer: str, benchmark: str) -> Path:
        """Similarities; `benchmark` is nearid_bench, mtg or dreambench."""
        return below(self.root, "scores", scorer, f"{benchmark}.parquet")

    def pack_of_scores(self, benchmark: str, backbone: str) -> Path:
        """Folder whose lock is held by the job that scores a benchmark with the heads of a backbone."""
        return below(self.root, "scores", ".packs", f"{benchmark}.{backbone}")

    def metrics(self, scorer: str) -> Path:
        """Every metric of a scorer with its counts."""
        return below(self.root, "scores", scorer, "metrics.json")

    # paper
    def table(self, table: str, suffix: str) -> Path:
        """A table; `suffix` is csv, tex or md."""
        return below(self.root, "paper", "tables", f"{table}.{suffix}")

    def figure_data(self, figure: str) -> Path:
        """What a figure plots."""
        return below(self.root, "paper", "data", f"{figure}.npz")

    def figure(self, figure: str, suffix: str) -> Path:
        """A plotted figure; `suffix` is pdf, png or gif."""
        return below(self.root, "paper", "figures", f"{figure}.{suffix}")

    def paper(self, name: str) -> Path:
        """comparison.csv, index.html, manifest.json or summary.txt."""
        return below(self.root, "paper", name)

    @property
    def crate(self) -> Path:
        """The run as an RO-Crate."""
        return below(self.root, "ro-crate-metadata.json")

    # what other projects use
    def exported(self, form: str, ablation: str) -> Path:
        """A trained head as a model folder; `form` is siglip or release."""
        return below(self.root, "export", form, ablation)

    @property
    def exported_data(self) -> Path:
        """Positives and distractors as data sets in the released layout."""
        return below(self.root, "export", "datasets")

    # what a step leaves beside its results
    def log(self, stage: str, rule: str, name: str) -> Path:
        """A step's log."""
        return below(self.root, "logs", stage, rule, f"{name}.log")

    def benchmark(self, stage: str, rule: str, name: str) -> Path:
        """A step's time and memory."""
        return below(self.root, "benchmarks", stage, rule, f"{name}.tsv")
