"""The jobs of a config and how much work each is: what `nearid plan` adds up. Nothing is read but sizes of models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nearid.config.counts import count_identities, count_images, count_views, options_of
from nearid.config.facts import download_facts
from nearid.config.gaps import needs_identities
from nearid.config.packs import packs
from nearid.config.painting import images_per_shard, parts_of_shard
from nearid.config.steps import (
    backbone_of,
    benchmarks_of,
    mix_of,
    step_settings,
    token_shards,
    token_variants,
    training_of,
)
from nearid.config.uses import find_uses
from nearid.layout import Layout, shard_ids

Config = Mapping[str, Any]
# Bytes of a PNG per pixel, as photographs and rendered scenes both come out.
PNG_BYTES = 1.15
JOIN = "join"
"""Rate of putting a shard together that parts have painted."""
# What the released sets hold (docs/protocol.md 1.4, 2): part edits, side of a view.
_RELEASED = {"train": 5_000, "test": 100, "size_px": 512}
# (tokens, width) of an image where no local config.json says it.
_SHAPES = {"siglip": (729, 1152), "clip": (257, 1024), "dinov2": (257, 1024)}
# Gigabytes of a download of which nothing is known.
_DOWNLOAD_GB = 5


@dataclass(frozen=True)
class Job:
    """One job of the workflow.

    Attributes:
        stage, rule, name: as in its log and benchmark.
        rate: key of its rate (`nearid.cluster.rates`).
        units: work, in what its rate counts (images, bytes read, pairs).
        outputs: its files; it is done where all are there.
        size: bytes that it will write.
        gpu: whether it takes a GPU.
        seconds_per_unit: what the config expects; 0 where it does not say.
        timed: whether it is known how long a unit takes.
        model_gb: size of the model that it loads, where a download's facts say it.
        heads: that it trains together.
        offload: what of its model waits outside the GPU: `none`, `model` or `group`.
    """

    stage: str
    rule: str
    name: str
    rate: str
    units: float
    outputs: tuple[Path, ...]
    size: float
    gpu: bool = False
    seconds_per_unit: float = 0.0
    timed: bool = True
    model_gb: float = 0.0
    heads: int = 0
    offload: str = "none"


class Jobs:
    """Jobs of `config`, stage by stage; the same as the workflow plans (a test holds them together)."""

    def __init__(self, config: Config, layout: Layout) -> None:
        self.config, self.layout = config, layout
        self.select, self.shards = config["select"], shard_ids(config["dataset"]["shards"])
        self.scorers = self.select["scorers"]
        used = (config["scorers"][scorer].get("ablation") for scorer in self.scorers)
        self.ablations = list(dict.fromkeys([*self.select["ablations"], *filter(None, used)]))
        drawn = (source for ablation in self.ablations for source in self._drawn(ablation))
        self.sources = list(dict.fromkeys([*self.select["sources"], *drawn]))

    def all(self) -> list[Job]:
        """Every job, in the order of the stages."""
        return [
            *self.fetch(),
            *self.data(),
            *self.distractors(),
            *self.tokens(),
            *self.heads(),
            *self.scores(),
            *self.paper(),
        ]

    def fetch(self) -> Iterator[Job]:
        """Downloads that anything selected names."""
        for name in sorted({use.download for use in find_uses(self.config)}):
            size = download_facts().get(name, {}).get("gigabytes", _DOWNLOAD_GB) * 1e9
            yield Job("fetch", "fetch_download", name, "fetch", size, (Path("resources", name, "fetched.json"),), size)

    def data(self) -> Iterator[Job]:
        """Positives and part edits."""
        files = (self.layout.identities, *map(self.layout.positives, self.shards))
        size = self._images * self._image_bytes * 1.1
        rate = f"curate/{self.config['dataset']['kind']}"
        if needs_identities(self.config):
            yield Job("data", "curate_positives", "all", rate, self._images, files, size)
        for split in self._edits:
            count = 4 * self._part_edits(split)
            yield Job("data", "make_mtg", split, rate, count, (self.layout.mtg(split),), count * self._image_bytes)

    def distractors(self) -> Iterator[Job]:
        """A job per source and shard, and one for each of the parts that a long one is painted in."""
        for source in self.sources:
            for shard in self.shards:
                parts = parts_of_shard(self.config, self.layout, source, shard)
                if parts > 1:
                    yield from (self.painting(source, shard, part, parts) for part in range(1, parts + 1))
                yield self.shard(source, shard, parts)

    def painting(self, source: str, shard: str, part: int, parts: int) -> Job:
        """The job that paints one of the `parts` of a shard, or all of it."""
        entry = self.config["sources"][source]
        target, name = self.layout.distractors(source, shard), f"{source}/{shard}"
        count = images_per_shard(self.config, source)
        size, rule, done = count * self._image_bytes, "inpaint_shard", target
        if parts > 1:
            mark = self.layout.painted(source, shard, part, parts)
            # Marks go when the shard is there.
            size, rule, done = 0.0, "inpaint_part", target if target.exists() else mark
            count, name = count / parts, f"{name}.{part}of{parts}"
        painted = source not in self.config["released"]
        rate = f"{entry['engine']}/{entry['working_px']}" if painted else "released"
        each, large = entry["seconds_per_image"] if painted else 0.0, painted and "model" in entry["options"]
        timed, offload = bool(each) or not large, entry["options"].get("offload", "none")
        return Job("distractors", rule, name, rate, count, (done,), size, large, each, timed, offload=offload)

    def shard(self, source: str, shard: str, parts: int) -> Job:
        """The job that paints a shard, or puts together what `parts` have painted."""
        if parts == 1:
            return self.painting(source, shard, 1, 1)
        count = images_per_shard(self.config, source)
        files, size = (self.layout.distractors(source, shard),), count * self._image_bytes
        return Job("distractors", "inpaint_shard", f"{source}/{shard}", JOIN, count, files, size)

    def tokens(self) -> Iterator[Job]:
        """A job per backbone, collection and shard."""
        for backbone, collections in self._collections.items():
            for collection in collections:
                for shard in token_shards(self.config, backbone, collection):
                    yield self.extraction(backbone, collection, shard)

    def extraction(self, backbone: str, collection: str, shard: str) -> Job:
        """The job that extracts a shard's tokens; units are bytes written."""
        gpu = self.is_large(backbone)
        stored = sum(self.token_counts(backbone, collection).values())
        size = stored / len(token_shards(self.config, backbone, collection)) * self.token_bytes(backbone)
        files = (self.layout.tokens(backbone, collection, shard),)
        name, rate = f"{backbone}/{collection}/{shard}", "extract/gpu" if gpu else "extract/cpu"
        return Job("tokens", "extract_tokens", name, rate, size, files, size, gpu)

    def heads(self) -> Iterator[Job]:
        """A job per head; the first of a pack trains all of it and the others only write theirs."""
        return map(self.training, self.ablations)

    def training(self, ablation: str) -> Job:
        """The job that trains a head, and those that train with it; units are bytes of tokens."""
        pack = self._packs.get(ablation, [ablation])
        training = training_of(self.config, ablation)
        gpu = self.is_large(training["backbone"])
        # Tokens are read once for all; each head's own arithmetic comes on top.
        units = self.tokens_read(ablation) * (1 + 0.05 * len(pack)) if pack[0] == ablation else 0.0
        kept = bool(training["keep_every_steps"])
        rule = "train_head_with_timelapse" if kept else "train_head"
        files = tuple(self.layout.head_file(ablation, name) for name in ("head.safetensors", "config.json"))
        # Four square matrices for attention, two wide ones for the MLP, in float32.
        size = 48 * self._shape(training["backbone"])[1] ** 2 * (35 if kept else 1)
        rate = f"{'train_online' if training['tokens'] == 'online' else 'train'}/{'gpu' if gpu else 'cpu'}"
        return Job("heads", rule, ablation, rate, units, files, size, gpu, heads=len(pack))

    def scores(self) -> Iterator[Job]:
        """A job per scorer and benchmark, and its summary."""
        for scorer in self.scorers:
            for benchmark in benchmarks_of(self.config, scorer):
                yield self.scoring(scorer, benchmark)
            yield Job("scores", "summarise_scores", scorer, "summarise", 1, (self.layout.metrics(scorer),), 2e4)

    def scoring(self, scorer: str, benchmark: str) -> Job:
        """The job that scores a benchmark; units are bytes of tokens, or pairs.

        Only DreamBench++'s pictures pass through the backbone here: of the others there are tokens.
        """
        entry = self.config["scorers"][scorer]
        backbone = backbone_of(self.config, scorer)
        judge = entry["kind"] in ("vlm_judge", "vsm")
        splits = self.config["dataset"]["splits"]
        tested = splits["test"] if isinstance(splits["test"], int) else count_identities(self.config)
        images = tested * count_views(self.config)
        count = {
            "nearid_bench": images * (1 + len(self.select["sources"])) * 2 * (1.5 if judge else 1),
            "mtg": self._part_edits("test") * (5 if judge else 4) * 2,
            "dreambench": 1_350 * 7,
        }[benchmark]
        files, rule, model = (self.layout.scores(scorer, benchmark),), f"score_{benchmark}", ""
        if backbone and benchmark == "dreambench" and self.is_large(backbone):
            rate, units, gpu = "embed/gpu", count, True
        elif backbone:
            rate, units, gpu = "score/tokens", count * self.token_bytes(backbone), False
        else:
            model = entry.get("model", "")
            rate, units, gpu = f"score/{entry['kind']}", count, bool(model)
        size = download_facts().get(Path(model).name, {}).get("gigabytes", 0) if judge else 0
        return Job("scores", rule, scorer, rate, units, files, 1e6, gpu, model_gb=size)

    def is_large(self, backbone: str) -> bool:
        """Whether a backbone needs a GPU: half precision says so."""
        return bool(self.config["backbones"][backbone]["precision"] != "float32")

    def paper(self) -> Iterator[Job]:
        """Tables, figures and the closing files."""
        for table in self.select["tables"]:
            yield Job("paper", "make_table", table, "table", 1, (self.layout.table(table, "csv"),), 1e4)
        for figure in self.select["figures"]:
            moves = self.config["paper"]["figures"][figure]["animate"]
            yield Job("paper", "compute_figure", figure, "figure", 1, (self.layout.figure_data(figure),), 1e6)
            rule = "plot_animated_figure" if moves else "plot_figure"
            yield Job("paper", rule, figure, "figure", 1, (self.layout.figure(figure, "png"),), 2e6)
        yield Job("paper", "write_crate", "all", "table", 1, (self.layout.crate,), 1e5)
        folder = self.layout.paper("identities")
        if any("nearid_bench" in benchmarks_of(self.config, scorer) for scorer in self.scorers):
            yield Job("paper", "show_identities", "all", "figure", 1, (folder,), self._images * self._image_bytes / 10)
        names = {"compare_with_paper": "comparison.csv", "make_page": "index.html"}
        names |= {"write_summary": "summary.txt", "write_manifest": "manifest.json"}
        for rule, name in names.items():
            yield Job("paper", rule, "all", "table", 1, (self.layout.paper(name),), 5e4)

    @property
    def backbones(self) -> list[str]:
        """The backbones that anything selected needs."""
        return list(self._collections)

    @cached_property
    def _collections(self) -> dict[str, list[str]]:
        """What of is extracted with which backbone."""
        found: dict[str, list[str]] = {}
        for ablation in self.ablations:
            training, mix = training_of(self.config, ablation), mix_of(self.config, ablation)
            backbone = training["backbone"]
            if training["tokens"] == "online":
                found.setdefault(backbone, [])
                continue
            rows = ["positives", *mix["sources"]] if self._drawn(ablation) else []
            found.setdefault(backbone, []).extend([*rows, *(["mtg_train"] if mix["mtg_repeats"] else [])])
        for scorer in self.scorers:
            backbone = backbone_of(self.config, scorer)
            if backbone:
                own = benchmarks_of(self.config, scorer)
                bench = ["positives", *self.select["sources"]] if "nearid_bench" in own else []
                found.setdefault(backbone, []).extend([*bench, *(["mtg_test"] if "mtg" in own else [])])
        return {backbone: list(dict.fromkeys(names)) for backbone, names in found.items() if names}

    @cached_property
    def _packs(self) -> dict[str, list[str]]:
        """The heads that train together, by each of them."""
        return {ablation: pack for pack in packs(self.config) for ablation in pack}

    @cached_property
    def _edits(self) -> list[str]:
        trained = any(mix_of(self.config, ablation)["mtg_repeats"] for ablation in self.ablations)
        return [*(["train"] if trained else []), *(["test"] if "mtg" in self.select["benchmarks"] else [])]

    @property
    def _images(self) -> float:
        return count_identities(self.config) * count_views(self.config)

    @property
    def _image_bytes(self) -> float:
        size: float = options_of(self.config).get("size_px") or _RELEASED["size_px"]
        return size * size * PNG_BYTES

    def _part_edits(self, split: str) -> float:
        return float(options_of(self.config).get(f"mtg_{split}", _RELEASED[split]))

    def _drawn(self, ablation: str) -> list[str]:
        mix = mix_of(self.config, ablation)
        return list(mix["sources"]) if mix["nearid_repeats"] else []

    def token_counts(self, backbone: str, collection: str) -> dict[str, float]:
        """Images of a collection whose tokens are extracted, by variant."""
        counts: dict[str, float] = {}
        for images, variants in self._extracted(backbone, collection):
            for variant in variants:
                counts[variant] = counts.get(variant, 0.0) + images
        return counts

    def token_images(self, backbone: str, collection: str) -> float:
        """Images of a collection of which any tokens are extracted."""
        return sum(images for images, variants in self._extracted(backbone, collection) if variants)

    def _extracted(self, backbone: str, collection: str) -> list[tuple[float, list[str]]]:
        """How many images each split has, and which variants of them are extracted."""
        wanted = token_variants(self.config, backbone, collection)
        if collection.startswith("mtg_"):
            split = collection.removeprefix("mtg_")
            return [(4 * self._part_edits(split), wanted[split])]
        there: Iterable[str] = wanted
        if collection != "positives":
            there = step_settings("inpaint_shard", self.config, source=collection)["splits"]
        return [(count_images(self.config, [split]), variants) for split, variants in wanted.items() if split in there]

    def tokens_read(self, ablation: str) -> float:
        """Bytes of tokens that a training takes: two views and two distractors or more per sample."""
        training, mix = training_of(self.config, ablation), mix_of(self.config, ablation)
        splits = self.config["dataset"]["splits"]
        held = sum(count for count in splits.values() if isinstance(count, int))
        trained = (count_identities(self.config) - held) * count_views(self.config) if mix["sources"] else 0
        samples = trained * mix["nearid_repeats"] * 2 + self._part_edits("train") * mix["mtg_repeats"] * 4
        return float(training["epochs"] * samples * self.token_bytes(training["backbone"]))

    def token_bytes(self, backbone: str | None) -> float:
        """Bytes of an image's tokens."""
        tokens, width = self._shape(backbone)
        return 2.0 * tokens * width

    def _shape(self, backbone: str | None) -> tuple[int, int]:
        if backbone is None:
            return (1, 1)
        entry = self.config["backbones"][backbone]
        try:
            content = json.loads(Path(entry["path"], "config.json").read_text())
            vision = content.get("vision_config") or content
            return (vision["image_size"] // vision["patch_size"]) ** 2, vision["hidden_size"]
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            # Not there yet, or not what it should be: the step that loads it says so.
            return _SHAPES.get(entry["kind"], (257, 1024))
