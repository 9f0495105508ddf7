"""The paper's printed values (paper_results.json), by table, row and column."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from importlib import resources
from typing import Any

from nearid.config.settings.paper import Run
from nearid.data.kinds import describe_kind

METHODS = {
    "qwen3vl_30b": "Qwen3-VL 30B",
    "clip": "CLIP",
    "dinov2": "DINOv2",
    "vsm": "VSM",
    "siglip2": "SigLIP 2",
    "nearid": "NearID",
    "frozen": "Frozen",
    "infonce": "InfoNCE",
    "infonce_rneg": "InfoNCE + distractors",
    "infonce_oracle": "InfoNCE + oracle",
    "infonce_rneg_oracle": "InfoNCE + distractors + oracle",
    "siglip": "SigLIP + ranking",
    "circle": "Circle + ranking",
    "nearid_cohesion": "NearID + cohesion",
    "nearid_only": "NearID data only",
    "mtg_only": "MTG only",
    "nearid_1src_only": "One source only",
    "qwen3vl_4b": "Qwen3-VL 4B",
    "qwen3vl_8b": "Qwen3-VL 8B",
}

# docs/protocol.md 4.2: by how much half precision alone changed the authors' own numbers.
# M-H: docs/protocol.md 4.6, the authors' own ratings give .515475 where they print .516.
TOLERANCES = {
    "nearid_pa_table": 0.04,
    "pa_table": 0.04,
    "m_o": 0.011,
    "m_o_pair": 0.011,
    "mtg_ssr": 1.0,
    "mtg_pa": 0.5,
    "m_h": 0.002,
    "m_h_error": 0.002,
}

CORRELATIONS = ("m_o", "m_o_pair", "m_h", "m_h_error")
# Measured on part edits or on DreamBench++, which are public; all others on NearID-bench.
_ON_PUBLIC_IMAGES = ("mtg_ssr", "mtg_pa", *CORRELATIONS)


@cache
def published() -> dict[str, Any]:
    """All of paper_results.json."""
    return json.loads(resources.files("nearid.paper").joinpath("paper_results.json").read_text())


def published_rows(table: str) -> dict[str, dict[str, Any]]:
    """The rows of a table of the paper by the value of its first column, as text; empty if it prints no numbers."""
    content = published().get(table, {"columns": [""], "rows": []})
    return {str(row[content["columns"][0]]): row for row in content["rows"]}


def published_method(row: str, column: str) -> float | None:
    """The paper's value for a method: the first one in tables 1, 3 and 6."""
    values = (published_value(table, row, column) for table in ("table1", "table3", "table6"))
    return next((value for value in values if value is not None), None)


def published_value(table: str, row: str | None, column: str | None) -> float | None:
    """A printed value; None if the paper has no such cell or left it empty."""
    return published_rows(table).get(row or "", {}).get(column or "")


def same_images(run: Run, metric: str, sources: Collection[str]) -> bool:
    """Whether a metric was measured on the same images as the paper's.

    The part edits and DreamBench++ are public. The paper's test identities of NearID-bench, and its distractors from
    `sources`, come only with the released data.
    """
    if metric in _ON_PUBLIC_IMAGES:
        return describe_kind(run.dataset_kind).comparable
    return run.dataset_kind == "nearid" and set(sources) <= set(run.released)


def describe_images(run: Run, metric: str, sources: Collection[str]) -> str:
    """What a verdict says about the images that a metric was measured on."""
    if same_images(run, metric, sources):
        return "the paper's test images"
    if not run.official_splits:
        return "other test identities"
    found = "" if run.dataset_kind == "nearid" else "those that were found of "
    return f"{found}the paper's test identities, other distractors"


def differing(run: Run, metric: str, retrained: bool) -> list[str]:
    """Why a value of this run cannot be compared with the paper's, in words; empty if it can."""
    if run.stand_ins:
        return ["a rehearsal on stand-ins"]
    data = [] if metric in _ON_PUBLIC_IMAGES else list(run.differs.get("data", ()))
    return [*data, *(run.differs.get("training", ()) if retrained else ())]


def describe_comparability(run: Run) -> tuple[bool, str]:
    """Whether any of a run's numbers can be compared with the paper's, and what cannot be."""
    kind = describe_kind(run.dataset_kind)
    if run.stand_ins:
        return False, "a rehearsal on stand-ins of the downloads, with tiny sizes"
    if kind.comparable and run.benchmarks == ["dreambench"]:
        return True, "DreamBench++ is public, and so are its ratings"
    told = [*run.differs.get("data", ()), *run.differs.get("training", ())]
    if not kind.comparable or not told:
        return kind.comparable, kind.images
    return True, f"{kind.images}. Not where it hangs on what is not the paper's: {'; '.join(told)}"
