"""The jobs of a config and how much work each is: what `nearid plan` adds up. Nothing is read but sizes of models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nearid.config.counts import count_identities, count_images, count_views, options_of
from nearid.config.downloads import required_downloads
from nearid.config.facts import download_facts
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
from nearid.layout import Layout, shard_ids

Config = Mapping[str, Any]
# Bytes of a PNG per pixel, as photographs and rendered scenes both come out.
PNG_BYTES = 1.15
JOIN = "join"
"""Rate of putting a shard together that parts have painted."""
# What the released sets hold (spec data.md): part edits, side of a view.
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
        members = [self.config["dataset"].get(self.config["dataset"]["kind"], {})]
        members += [self.config["sources"][source] for source in self.sources]
        members += [self.config["scorers"][scorer] for scorer in self.scorers]
        members += [self.config["backbones"][backbone] for backbone in self.backbones]
        for scorer in self.scorers:
            if "dreambench" in benchmarks_of(self.config, scorer):
                steps = ("score_dreambench", "summarise_scores")
                members += [step_settings(step, self.config, scorer=scorer) for step in steps]
        for name in required_downloads(members, dict(self.config)):
            size = download_facts().get(name, {}).get("gigabytes", _DOWNLOAD_GB) * 1e9
            yield Job("fetch", "fetch_download", name, "fetch", size, (Path("resources", name, "fetched.json"),), size)

    def data(self) -> Iterator[Job]:
        """Positives and part edits."""
        files = (self.layout.identities, *map(self.layout.positives, self.shards))
        size = self._images * self._image_bytes * 1.1
        rate = f"curate/{self.config['dataset']['kind']}"
        yield Job("data", "curate_positives", "all", rate, self._images, files, size)
        for split in self._edits:
            count = 4 * self._part_edits(split)
            yield Job("data", "make_mtg", split, rate, count, (self.layout.mtg(split),), count * self._image_bytes)

    def distractors(self) -> Iterator[Job]:
        """A job per source and shard, and one for each of the parts that a long one is painted in."""
        for source in self.sources:
            entry = self.config["sources"][source]
            count = images_per_shard(self.config, source)
            gpu, size = "model" in entry["options"], count * self._image_bytes
            rate, each = f"{entry['engine']}/{entry['working_px']}", entry["seconds_per_image"]
            for shard in self.shards:
                target, name = self.layout.distractors(source, shard), f"{source}/{shard}"
                parts = parts_of_shard(self.config, self.layout, source, shard)
                if parts == 1:
                    yield Job("distractors", "inpaint_shard", name, rate, count, (target,), size, gpu, each)
                    continue
                for part in range(1, parts + 1):
                    mark = self.layout.painted(source, shard, part, parts)
                    # Marks go when the shard is there.
                    done = target if target.exists() else mark
                    own = f"{name}.{part}of{parts}"
                    yield Job("distractors", "inpaint_part", own, rate, count / parts, (done,), 0, gpu, each)
                yield Job("distractors", "inpaint_shard", name, JOIN, count, (target,), size)

    def tokens(self) -> Iterator[Job]:
        """A job per backbone, collection and shard; units are bytes written."""
        for backbone, collections in self._collections.items():
            gpu = self.config["backbones"][backbone]["precision"] != "float32"
            for collection in collections:
                shards = token_shards(self.config, backbone, collection)
                stored = sum(self.token_counts(backbone, collection).values())
                size = stored / len(shards) * self.token_bytes(backbone)
                for shard in shards:
                    files = (self.layout.tokens(backbone, collection, shard),)
                    rate = "extract/gpu" if gpu else "extract/cpu"
                    name = f"{backbone}/{collection}/{shard}"
                    yield Job("tokens", "extract_tokens", name, rate, size, files, size, gpu)

    def heads(self) -> Iterator[Job]:
        """A job per head; the first of a pack trains all, the others only write theirs. Units: bytes of tokens."""
        together = {pack[0]: len(pack) for pack in packs(self.config)}
        behind = {ablation for pack in packs(self.config) for ablation in pack[1:]}
        for ablation in self.ablations:
            training = training_of(self.config, ablation)
            gpu = self.config["backbones"][training["backbone"]]["precision"] != "float32"
            # Tokens are read once for all; each head's own arithmetic comes on top.
            units = 0.0 if ablation in behind else self.tokens_read(ablation) * (1 + 0.05 * together.get(ablation, 1))
            rate = "train_online" if training["tokens"] == "online" else "train"
            kept = bool(training["keep_every_steps"])
            rule = "train_head_with_timelapse" if kept else "train_head"
            files = tuple(self.layout.head_file(ablation, name) for name in ("head.safetensors", "config.json"))
            # Four square matrices for attention, two wide ones for the MLP, in float32.
            size = 48 * self._shape(training["backbone"])[1] ** 2 * (35 if kept else 1)
            yield Job("heads", rule, ablation, f"{rate}/{'gpu' if gpu else 'cpu'}", units, files, size, gpu)

    def scores(self) -> Iterator[Job]:
        """A job per scorer and benchmark, and its summary."""
        splits = self.config["dataset"]["splits"]
        tested = splits["test"] if isinstance(splits["test"], int) else count_identities(self.config)
        images = tested * count_views(self.config)
        for scorer in self.scorers:
            entry = self.config["scorers"][scorer]
            backbone = backbone_of(self.config, scorer)
            judge = entry["kind"] in ("vlm_judge", "vsm")
            rate = "score/tokens" if backbone else f"score/{entry['kind']}"
            gpu = judge or bool(backbone and self.config["backbones"][backbone]["precision"] != "float32")
            counts = {
                "nearid_bench": images * (1 + len(self.select["sources"])) * 2 * (1.5 if judge else 1),
                "mtg": self._part_edits("test") * (5 if judge else 4) * 2,
                "dreambench": 1_350 * 7,
            }
            for benchmark in benchmarks_of(self.config, scorer):
                units = counts[benchmark] * (self.token_bytes(backbone) if backbone else 1)
                files = (self.layout.scores(scorer, benchmark),)
                yield Job("scores", f"score_{benchmark}", scorer, rate, units, files, 1e6, gpu)
            yield Job("scores", "summarise_scores", scorer, "summarise", 1, (self.layout.metrics(scorer),), 2e4)

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
        path = Path(entry["path"], "config.json")
        if path.is_file():
            content = json.loads(path.read_text())
            vision = content.get("vision_config") or content
            if {"image_size", "patch_size", "hidden_size"} <= vision.keys():
                return (vision["image_size"] // vision["patch_size"]) ** 2, vision["hidden_size"]
        return _SHAPES.get(entry["kind"], (257, 1024))
