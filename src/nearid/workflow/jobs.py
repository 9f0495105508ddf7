"""The jobs of a config and the work of each, which `nearid plan` adds up. Only models' sizes are read from disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from nearid.config.counts import count_identities, count_images, count_views, options_of
from nearid.config.facts import download_facts
from nearid.config.packs import packs
from nearid.config.painting import images_per_shard
from nearid.config.steps import (
    BENCHMARKS,
    backbone_of,
    mix_of,
    step_settings,
    token_shards,
    token_variants,
    training_of,
)
from nearid.config.types import Config
from nearid.dreambench import METHODS
from nearid.layout import Layout
from nearid.workflow.graph import Graph, JobId

Work = dict[str, Any]
"""Attributes of a `Job` that say how much work it is."""
# Bytes per pixel of a PNG, about the same for photographs and rendered scenes.
PNG_BYTES = 1.15
JOIN = "join"
"""Rate key of joining a shard's painted parts."""
# Sizes of the released sets (docs/protocol.md 1.4, 2): part edits of each split, and the side of a view.
_RELEASED = {"train": 5_000, "test": 100, "size_px": 512}
# (tokens, width) of an image, where there is no local config.json to read them from.
_SHAPES = {"siglip": (729, 1152), "clip": (257, 1024), "dinov2": (257, 1024)}
# Assumed gigabytes of a download whose size is unknown.
_DOWNLOAD_GB = 5


@dataclass(frozen=True)
class Job:
    """One job of the workflow.

    Attributes:
        stage, rule, name: as in its log and benchmark.
        rate: key of its rate (`nearid.workflow.rates`).
        units: work, in what its rate counts (images, bytes read, pairs).
        outputs: its files; the job is done when all exist.
        size: bytes that it will write.
        gpu: whether it takes a GPU.
        seconds_per_unit: as given in the config; 0 if not given.
        timed: whether the time of a unit is known.
        model_gb: size of the model that it loads, where a download's facts say it.
        heads: number of heads that it trains together.
        offload: what part of its model is kept outside the GPU until it is needed: `none`, `model` or `group`.
        side_by_side: least number of pairs in a judge's batch.
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
    side_by_side: int = 0


class Jobs:
    """Jobs of `config`: those of the workflow's graph, with the work of each."""

    def __init__(self, config: Config, layout: Layout, graph: Graph | None = None) -> None:
        self.config, self.layout, self.select = config, layout, config["select"]
        self.graph = graph or Graph(config, layout)

    def all(self) -> list[Job]:
        """Every job, in the order of the stages."""
        return [self.describe(job) for job in self.graph.jobs()]

    def of(self, *steps: str) -> list[Job]:
        """The jobs of these steps."""
        return [self.describe(job) for job in self.graph.jobs() if job.step.name in steps]

    def describe(self, job: JobId) -> Job:
        """A job with its work: from its step, or from its ids where the jobs of a step differ."""
        step, outputs = job.step, self.graph.outputs(job)
        plain = Job(step.stage, self.graph.rule(job), job.name, step.rate, 1, outputs, step.size)
        work = _WORK.get(step.name)
        return replace(plain, **work(self, **job.ids)) if work else plain

    def fetch(self, download: str) -> Work:
        """Bytes of a download."""
        size = download_facts().get(download, {}).get("gigabytes", _DOWNLOAD_GB) * 1e9
        return {"rate": "fetch", "units": size, "size": size}

    def curation(self) -> Work:
        """Images of the data set."""
        rate = f"curate/{self.config['dataset']['kind']}"
        return {"rate": rate, "units": self._images, "size": self._images * self._image_bytes * 1.1}

    def part_edits(self, split: str) -> Work:
        """Images: two views, each original and with an edited part."""
        count = 4 * self._part_edits(split)
        return {"rate": f"curate/{self.config['dataset']['kind']}", "units": count, "size": count * self._image_bytes}

    def pictures_of_raters(self) -> Work:
        """Pictures of simulated raters: references, and what each method makes of them."""
        simulated = self.config["dreambench"]["simulated"]
        count = simulated["subjects"] * (1 + len(METHODS) * simulated["prompts"])
        # Each method's folder has a copy of the references.
        size = 2 * count * self._image_bytes
        return {"rate": f"curate/{self.config['dataset']['kind']}", "units": float(count), "size": size}

    def painting(self, source: str, shard: str, part: str = "1", parts: str = "1") -> Work:
        """Images of one of the `parts` of a shard, or of all of it."""
        entry = self.config["sources"][source]
        count = images_per_shard(self.config, source) / int(parts)
        painted = source not in self.config["released"]
        each, large = entry["seconds_per_image"] if painted else 0.0, painted and "model" in entry["options"]
        work = {
            "rate": f"{entry['engine']}/{entry['working_px']}" if painted else "released",
            "units": count,
            "size": count * self._image_bytes if parts == "1" else 0.0,
            "gpu": large,
            "seconds_per_unit": each,
            "timed": bool(each) or not large,
            "offload": entry["options"].get("offload", "none"),
        }
        target = self.layout.distractors(source, shard)
        # Marker files of parts are deleted when the shard is there.
        return work | ({"outputs": (target,)} if parts != "1" and target.exists() else {})

    def shard(self, source: str, shard: str) -> Work:
        """Painting a shard, or joining its painted parts."""
        if self.graph.files.parts(source, shard) == 1:
            return self.painting(source, shard)
        count = images_per_shard(self.config, source)
        return {"rate": JOIN, "units": count, "size": count * self._image_bytes}

    def extraction(self, backbone: str, collection: str, shard: str) -> Work:
        """Bytes of tokens written."""
        gpu = self.is_large(backbone)
        stored = sum(self.token_counts(backbone, collection).values())
        size = stored / len(token_shards(self.config, backbone, collection)) * self.token_bytes(backbone)
        return {"rate": "extract/gpu" if gpu else "extract/cpu", "units": size, "size": size, "gpu": gpu}

    def training(self, ablation: str) -> Work:
        """Bytes of tokens read; the first head of a pack trains all of it, and the others only write theirs."""
        pack = self._packs.get(ablation, [ablation])
        training = training_of(self.config, ablation)
        gpu = self.is_large(training["backbone"])
        feed = "train_online" if training["tokens"] == "online" else "train"
        # Four square matrices for attention, two wide ones for the MLP, in float32.
        weights = 48 * self._shape(training["backbone"])[1] ** 2
        return {
            "rate": f"{feed}/{'gpu' if gpu else 'cpu'}",
            # Tokens are read once for all; each head's own arithmetic comes on top.
            "units": self.tokens_read(ablation) * (1 + 0.05 * len(pack)) if pack[0] == ablation else 0.0,
            "size": weights * (35 if self.graph.files.keeps_states(ablation) else 1),
            "gpu": gpu,
            "heads": len(pack),
        }

    def scoring(self, scorer: str, benchmark: str) -> Work:
        """Bytes of tokens, or pairs.

        Only DreamBench++'s pictures pass through the backbone here; the other benchmarks have cached tokens.
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
            "dreambench": self._rated_pictures,
        }[benchmark]
        model = ""
        if backbone and benchmark == "dreambench" and self.is_large(backbone):
            rate, units, gpu = "embed/gpu", count, True
        elif backbone:
            rate, units, gpu = "score/tokens", count * self.token_bytes(backbone), False
        else:
            model = entry.get("model", "")
            rate, units, gpu = f"score/{entry['kind']}", count, bool(model)
        size = _gigabytes(model) if judge else 0.0
        work: Work = {"rate": rate, "units": units, "size": 1e6, "gpu": gpu, "model_gb": size}
        if entry["kind"] == "vlm_judge" and gpu:
            work |= {"side_by_side": entry.get("batch_size", 6), "offload": entry.get("offload", "none")}
            # A rate of its own, since its time depends on the weights that it loads again and again.
            work["rate"] += "" if work["offload"] == "none" else f"/{scorer}"
        return work

    def is_large(self, backbone: str) -> bool:
        """Whether a backbone needs a GPU: those in half precision do."""
        return bool(self.config["backbones"][backbone]["precision"] != "float32")

    @cached_property
    def _packs(self) -> dict[str, list[str]]:
        """The pack of each head."""
        return {ablation: pack for pack in packs(self.config) for ablation in pack}

    @property
    def _images(self) -> float:
        return count_identities(self.config) * count_views(self.config)

    @property
    def _image_bytes(self) -> float:
        size: float = options_of(self.config).get("size_px") or _RELEASED["size_px"]
        return size * size * PNG_BYTES

    @property
    def _rated_pictures(self) -> float:
        """Pictures of DreamBench++'s methods, or of the simulated methods."""
        simulated = self.config["dreambench"].get("simulated")
        return simulated["subjects"] * simulated["prompts"] * 7.0 if simulated else 1_350 * 7

    def _part_edits(self, split: str) -> float:
        return float(options_of(self.config).get(f"mtg_{split}", _RELEASED[split]))

    def token_counts(self, backbone: str, collection: str) -> dict[str, float]:
        """Images of a collection whose tokens are extracted, by variant."""
        counts: dict[str, float] = {}
        for images, variants in self._extracted(backbone, collection):
            for variant in variants:
                counts[variant] = counts.get(variant, 0.0) + images
        return counts

    def token_images(self, backbone: str, collection: str) -> float:
        """Images of a collection with tokens of at least one variant."""
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
        """Bytes of tokens that a training reads: per sample two views and at least two distractors."""
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
            # Missing or malformed: the step that loads it reports that.
            return _SHAPES.get(entry["kind"], (257, 1024))


def _gigabytes(model: str) -> float:
    """Size of a model: from its download's facts, else of the weights in its folder; 0 if neither is known."""
    known = download_facts().get(Path(model).name, {}).get("gigabytes", 0)
    return known or round(sum(path.stat().st_size for path in Path(model).glob("*.safetensors")) / 1e9, 1)


_WORK: dict[str, Callable[..., Work]] = {
    "fetch_download": Jobs.fetch,
    "curate_positives": Jobs.curation,
    "make_mtg": Jobs.part_edits,
    "make_raters": Jobs.pictures_of_raters,
    "inpaint_part": Jobs.painting,
    "inpaint_shard": Jobs.shard,
    "extract_tokens": Jobs.extraction,
    "train_head": Jobs.training,
    **{f"score_{benchmark}": partial(Jobs.scoring, benchmark=benchmark) for benchmark in BENCHMARKS},
    "show_identities": lambda jobs: {"size": jobs._images * jobs._image_bytes / 10},
}
