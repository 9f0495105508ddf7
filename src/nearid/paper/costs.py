"""paper/costs.csv: the costs of a run beside the paper's, and of a judged pair beside an embedded one.

Times vary, so they are not part of what two runs must agree on; they are written with the manifest.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from nearid.config.steps import backbone_of, token_variants
from nearid.config.types import Config
from nearid.io.files import read_json
from nearid.io.tables import read_table
from nearid.layout import Layout
from nearid.paper.effects import Effect
from nearid.paper.reference import published
from nearid.scores.margins import CROSSES, SIMILARITIES

JUDGE = "vlm_judge"
STAGES = ("distractors", "tokens", "heads", "scores")
_TIMES = "times"
_SHARE = "its share of its pack"
_NOT_MEASURED = "no job of it has run in this folder"
# What margins need (nearid.scores.margins): of a distractor, only the similarity to the view on its background.
_ASKED = (*SIMILARITIES, *(name for name in CROSSES if name[-1] == name[-2]))


@dataclass(frozen=True)
class Cost:
    """One number: `what` in `unit`, ours and the paper's; `why` says why one is missing, or how ours was measured."""

    what: str
    unit: str
    ours: float | None
    paper: float | None
    why: str


def compare_costs(config: Config, layout: Layout, costs: Sequence[Mapping[str, Any]]) -> list[Cost]:
    """The paper's cost block in its order, then ours by stage, head and scorer.

    Args:
        config: the run's.
        layout: of the results folder.
        costs: seconds per stage and rule (nearid.paper.manifest.read_costs).
    """
    printed, heads = published()["cost"], _read_heads(config, layout)
    judge, head = _find_scorer(config, JUDGE), _find_scorer(config, "head")
    judged, embedded = _evaluate(config, layout, judge), _evaluate(config, layout, head)
    main = heads.get(config["scorers"].get(head or "", {}).get("ablation", ""))
    suite = [hours for hours, _, swept in heads.values() if not swept]
    beta = [hours for hours, _, swept in heads.values() if swept]

    def beside(what: str, unit: str, ours: float | None, key: str, why: str) -> Cost:
        return Cost(what, unit, ours, float(printed[key]), why if ours is not None else _NOT_MEASURED)

    rows = [
        beside("a training run", "hours", main[0] if main else None, "a100_hours_per_training_run", _SHARE),
        beside("a training step", "seconds", main[1] if main else None, "seconds_per_step", _SHARE),
        beside(
            "the ablations",
            "hours",
            sum(suite) if suite else None,
            "ablation_suite_a100_hours",
            f"heads trained: {len(suite)}",
        ),
        beside(
            "the beta sweep",
            "hours",
            sum(beta) if beta else None,
            "beta_sweep_a100_hours",
            f"heads trained: {len(beta)}",
        ),
        beside(
            "an evaluation by embedding",
            "minutes",
            embedded.seconds / 60 if embedded else None,
            "embedding_eval_minutes_9_sources_plus_mtg",
            f"{head} on NearID-bench: tokens of the test images, and scores",
        ),
        beside(
            "an evaluation by a judge",
            "hours",
            judged.seconds / 3600 if judged else None,
            "vlm_nearid_benchmark_a100_hours",
            f"{judge} on NearID-bench; an answer that was kept costs nothing",
        ),
        beside(
            "a judge's pair in embedded pairs",
            _TIMES,
            embedded.rate / judged.rate if judged and embedded else None,
            "vlm_to_embedding_cost_ratio",
            f"{judge} and {head}",
        ),
    ]
    for who, evaluation in ((judge, judged), (head, embedded)):
        if evaluation:
            rows.append(Cost(f"pairs by {who}", "per second", evaluation.rate, None, f"{evaluation.pairs} pairs"))
    for stage in STAGES:
        seconds = sum(cost["seconds"] for cost in costs if cost["stage"] == stage)
        rows.append(Cost(f"stage {stage}", "job hours", seconds / 3600, None, "a GPU each where its rule asks for one"))
    rows += [Cost(f"head {name}", "hours", hours, None, _SHARE) for name, (hours, *_) in heads.items()]
    return rows


def judge_cost(costs: Iterable[Cost]) -> Effect:
    """The paper's last effect, that an embedding is cheaper than a judge: here by at least half the paper's factor."""
    cost = next(cost for cost in costs if cost.unit == _TIMES)
    assert cost.paper is not None
    claim = f"An embedding is cheaper than a judge: a pair costs at least {cost.paper / 2:.0f} times less"
    if cost.ours is None:
        return Effect(f"{claim} (paper: {cost.paper:.0f})", "appendix D", cost.why, None)
    numbers = f"{cost.ours:.1f} times, {cost.why}"
    return Effect(f"{claim} (paper: {cost.paper:.0f})", "appendix D", numbers, cost.ours >= cost.paper / 2)


def to_csv(costs: Iterable[Cost]) -> str:
    """Costs as CSV, a line each."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Cost)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(cost) for cost in costs)
    return buffer.getvalue()


@dataclass(frozen=True)
class Evaluation:
    """An evaluation on NearID-bench: how many pairs of images were compared, and how long it took in all."""

    pairs: int
    seconds: float

    @property
    def rate(self) -> float:
        """Pairs per second."""
        return self.pairs / self.seconds


def _find_scorer(config: Config, kind: str) -> str | None:
    """The selected scorer of this kind that represents the one whose cost the paper gives, else the first."""
    found = [name for name in config["select"]["scorers"] if config["scorers"][name].get("kind") == kind]
    standing = [name for name in found if config["scorers"][name].get("paper_row") in ("qwen3vl_30b", "nearid")]
    return next(iter([*standing, *found]), None)


def _evaluate(config: Config, layout: Layout, scorer: str | None) -> Evaluation | None:
    """A scorer's evaluation on NearID-bench, with its share of the token extraction; None if it was not measured."""
    if scorer is None:
        return None
    path = layout.scores(scorer, "nearid_bench")
    seconds = _read_seconds([layout.benchmark("scores", "score_nearid_bench", scorer)])
    if seconds is None or not path.is_file():
        return None
    backbone = backbone_of(config, scorer)
    if backbone:
        extraction = _extraction_seconds(config, layout, backbone)
        if extraction is None:
            return None
        seconds += extraction
    table = read_table(path, list(_ASKED))
    pairs = sum(int(np.isfinite(table[name].to_numpy()).sum()) for name in _ASKED)
    return Evaluation(pairs, seconds) if pairs and seconds else None


def _extraction_seconds(config: Config, layout: Layout, backbone: str) -> float | None:
    """Seconds for the test images' tokens: each collection's total, times the test split's share of its images."""
    views, total = _count_views(layout), 0.0
    for collection in ("positives", *config["select"]["sources"]):
        folder = layout.benchmark("tokens", "extract_tokens", f"{backbone}/{collection}/000").parent
        seconds = _read_seconds(sorted(folder.glob("*.tsv")))
        if seconds is None:
            return None
        wanted = token_variants(config, backbone, collection)
        images = {split: views[split] * len(variants) for split, variants in wanted.items()}
        total += seconds * images.get("test", 0) / max(1, sum(images.values()))
    return total


def _count_views(layout: Layout) -> Mapping[str, int]:
    """Views by split."""
    views: Counter[str] = Counter()
    for row in read_table(layout.identities, ["split", "n_images"]).to_pylist():
        views[row["split"]] += row["n_images"]
    return views


def _read_seconds(paths: Sequence[Path]) -> float | None:
    """Total seconds of jobs; None if one has not run here."""
    if not paths or not all(path.is_file() for path in paths):
        return None
    return sum(read_number(row.get("s")) for path in paths for row in _rows(path))


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open(newline="") as stream:
        yield from csv.DictReader(stream, delimiter="\t")


def read_number(text: str | None) -> float:
    """An entry of Snakemake's benchmark files; a job too short to be sampled has `NA`, which counts as 0."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _read_heads(config: Config, layout: Layout) -> dict[str, tuple[float, float, bool]]:
    """Hours and seconds per step of each head, and whether it is of the beta sweep; a pack's heads share its time."""
    found = {}
    for name in config["select"]["ablations"]:
        path = layout.head_file(name, "provenance.json")
        told = read_json(path) if path.is_file() else {}
        if not told.get("seconds") or not told.get("steps"):
            continue
        own = told["seconds"] / (1 + len(told.get("trained_with", [])))
        params = config["ablations"][name].get("params", {})
        swept = params.get("alpha") == 1.0 and bool(params.get("beta"))
        found[name] = (own / 3600, own / told["steps"], swept)
    return found
