"""The protocol's table for your own encoder, on the images of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nearid.config import step_code, step_settings
from nearid.config.settings.scores import ScoreMTG, ScoreNearIDBench, SummariseScores
from nearid.config.settings.tokens import BackboneSettings
from nearid.config.steps import entry_of, groups_of
from nearid.config.types import Config
from nearid.errors import UserError
from nearid.io.files import read_json
from nearid.io.hashing import hash_json
from nearid.layout import Layout, shard_ids
from nearid.scores.mtg import score_mtg
from nearid.scores.nearid_bench import score_nearid_bench
from nearid.scores.summary import summarise

Json = dict[str, Any]


def evaluate(
    encoder: str, backbone: BackboneSettings, readout: str, config: Config, layout: Layout, made_by: str
) -> Json:
    """Metrics of `encoder` on all sources of `config`, full and foreground, and on MTG if the run has it.

    Args:
        encoder: id of a scorer (scored as the config says) or of a backbone in `config`, or the path of a model.
        backbone: settings of an encoder that the config does not have.
        readout: `map` or `mean`; a scorer of the config keeps its own.
        config: the whole, validated config.
        layout: of the results folder with the data.
        made_by: the command that makes the data, for the message if they are missing.

    Raises:
        UserError: data or encoder are missing.
    """
    sources = config["select"]["sources"]
    if encoder in config["scorers"]:
        steps = ("score_nearid_bench", "score_mtg")
        of_bench, of_mtg = (step_settings(step, config, scorer=encoder) for step in steps)
        key = encoder
    else:
        entry = entry_of(config, "backbones", encoder) if encoder in config["backbones"] else dict(backbone.given)
        of_mtg = {"scorer": {"kind": "encoder", "readout": readout}, "conditions": ["full", "fg"]}
        of_mtg |= {"backbone": entry, "backbone_id": "", "tokens": "images"}
        of_bench = of_mtg | {"sources": sources, "split": "test"}
        name = re.sub(r"[^a-z0-9]+", "_", encoder.lower()).strip("_")[-40:]
        # Encoders whose folders have the same name must not share a folder of scores.
        key = f"{name}_{hash_json([encoder, entry, readout])[:6]}"
    own = {"scorer_id": f"own_{key}"}
    return _score(ScoreNearIDBench.parse(of_bench | own), ScoreMTG.parse(of_mtg | own), config, layout, made_by)


def _score(of_bench: ScoreNearIDBench, of_mtg: ScoreMTG, config: Config, layout: Layout, made_by: str) -> Json:
    shards = shard_ids(config["dataset"]["shards"])
    needed = [
        layout.identities,
        *(layout.distractors(source, shard) for source in of_bench.sources for shard in shards),
    ]
    missing = [path for path in needed if not path.is_file()]
    if missing:
        raise UserError(
            missing[0],
            f"no such file ({len(missing)} of the run's data files are missing)",
            "the views and distractors of a run",
            f"{made_by} --until inpaint_shard make_mtg",
        )
    scorer_id, benchmarks = of_bench.scorer_id, ["nearid_bench"]
    code = step_code("score_nearid_bench", of_bench.given)
    score_nearid_bench(of_bench, layout, layout.scores(scorer_id, "nearid_bench"), code)
    if layout.mtg("test").is_file():
        score_mtg(of_mtg, layout, layout.scores(scorer_id, "mtg"), step_code("score_mtg", of_mtg.given))
        benchmarks.append("mtg")
    summary = {"scorer_id": scorer_id, "groups": groups_of(config), "headline_group": config["headline_group"]}
    summarise(SummariseScores.parse(summary | {"benchmarks": benchmarks, "seed": config["seed"]}), layout)
    metrics: Json = read_json(layout.metrics(scorer_id))
    return metrics


def format_table(metrics: Json, encoder: str, layout: Layout) -> str:
    """The metrics as text: a row per source and group, SSR and PA in percent with intervals, both conditions."""
    conditions = list(metrics["nearid_bench"])
    lines = [f"{encoder} on {layout.root}: SSR and PA in percent, with 95 % intervals over identities", ""]
    head = [f"{condition + ' SSR':>20} {condition + ' PA':>20}" for condition in conditions]
    lines.append(" ".join([f"{'':<24}", *head, f"{'n':>5}"]))
    first = metrics["nearid_bench"][conditions[0]]
    for kind, mark in (("sources", ""), ("groups", "all of ")):
        for name in first[kind]:
            entries = [metrics["nearid_bench"][condition][kind][name] for condition in conditions]
            cells = [_cell(entry, metric) for entry in entries for metric in ("ssr", "pa")]
            lines.append(" ".join([f"{mark + name:<24}", *cells, f"{entries[0]['n']:>5}"]))
    if metrics["mtg"]:
        lines += ["", f"{'MTG':<24} " + " ".join(f"{condition:>20}" for condition in metrics["mtg"])]
        for metric, title in (("m_o", "M-O"), ("m_o_pair", "M-O pair"), ("mtg_ssr", "SSR"), ("mtg_pa", "PA")):
            digits = 3 if metric.startswith("m_o") else 1
            cells = [_cell(entry, metric, digits) for entry in metrics["mtg"].values()]
            lines.append(" ".join([f"{title:<24}", *cells]))
    for path, reason in sorted(metrics["reasons"].items()):
        if path != "m_h":
            lines.append(f"{path}: {reason}")
    return "\n".join(lines)


def _cell(entry: Mapping[str, Any], metric: str, digits: int = 1) -> str:
    if entry[metric] is None:
        return f"{'-':>20}"
    low, high = entry[f"{metric}_ci"] or (float("nan"), float("nan"))
    return f"{f'{entry[metric]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]':>20}"
