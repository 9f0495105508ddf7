"""Print docs/formats.md: columns from the schemas that the code writes with, what they mean from here (`make docs`)."""

# ruff: noqa: E501  rows of Markdown tables

from __future__ import annotations

import pyarrow as pa

from nearid.data.schema import DISTRACTORS, IDENTITIES, MTG, POSITIVES
from nearid.io.formats import FORMATS
from nearid.io.tables import IMAGE
from nearid.scores import dreambench, mtg, nearid_bench

TABLES = {
    "data/positives/<shard>.parquet": (
        "records",
        POSITIVES,
        "A row per identity, in the columns of the released set (docs/protocol.md 1.3). Images and masks are PNG; slots "
        "without a view are null. With `keep_raw_masks` also `raw_masks1` to `raw_masks3`.",
    ),
    "data/identities.parquet": ("records", IDENTITIES, "The same without images, all shards in one table."),
    "data/mtg/<split>.parquet": ("part_edits", MTG, "Pairs of views, each with its edited copy (docs/protocol.md 2)."),
    "distractors/<source>/<shard>.parquet": (
        "distractors",
        DISTRACTORS,
        "Row r belongs to row r of the positives' shard. A flag is `ok`, the reason of an empty slot, or null where "
        "there is no view.",
    ),
    "scores/<scorer>/nearid_bench.parquet": (
        "scores",
        nearid_bench.SCHEMA,
        "Ordered by source, condition, row. `sim_ij`: view i against view j; `cross_ij`: view i against distractor j; "
        "`random`: mean of view 0 against view 0 of every other identity of the split. NaN where there is none.",
    ),
    "scores/<scorer>/mtg.parquet": (
        "scores",
        mtg.SCHEMA,
        "Ordered by condition; `s_12e` is original 1 against edited copy 2, `oracle_1` and `oracle_2` sizes of the edits.",
    ),
    "scores/<scorer>/dreambench.parquet": (
        "scores",
        dreambench.SCHEMA,
        "Ordered by method, key; `score` is 100 x similarity.",
    ),
}

REST = """\
## Tokens: `tokens/<backbone>/<collection>/<shard>.h5`

Float16 `[images, tokens, dim]`, with checksums. A key is (identity, slot, variant). Variants are `full` and `fg`; for augmented training
also `full_flip` and `full_<augmentation>_<draw>`, whose `parameters` are stored too. Slots 0 to 2 are views, or the distractors on their backgrounds; for MTG 0
and 1 are originals, 2 and 3 edited copies. Empty slots are not stored; an image without a mask has no `fg`. Attributes name
backbone, weights and preprocessing by hash. Shards are those of the positives; part edits, and images that are not read in
training with this backbone, are in one shard, `000`.

## Heads: `heads/<ablation>/`

| file | content |
|---|---|
| `head.safetensors` | state dict of transformers' `SiglipMultiheadAttentionPoolingHead` |
| `config.json` | `settings`; `vision_config`, to build a `MAPHead`; `deepspeed` |
| `log.jsonl` | a line per step, `step` from 1: loss, unweighted terms, mean cosines (`cosine_positive`, `cosine_distractor`, `cosine_other`), learning rate, gradient norm before clipping, seconds waited and worked, tokens per second of the pack; `val_ssr` (percent) and `val_margin` where validated |
| `provenance.json` | settings, versions, inputs by hash, the heads that trained in the same pack |
| `timelapse.safetensors` | the state at each kept step, keys `step_000100.<name>`; step 0 is the backbone's own head |
| `stopped.json` | only of a head that diverged: `not_finite`, step, epoch, batch, values, images |

## Metrics: `scores/<scorer>/metrics.json`

Rates are in percent. A value that cannot be computed is null, and `reasons` says why, by dotted path or its first part.

```
{"scorer": id, "headline_group": g,
 "nearid_bench": {"full": {"sources": {s: V}, "groups": {g: V}, "cosine": {"positive", "distractor", "random"}}, "fg": …},
 "mtg": {"full": {m_o, m_o_pair, mtg_ssr, mtg_ssr_mean, mtg_pa, n, trials, identities, correlations, <name>_ci: [lo, hi], …}, "fg": …},
 "masking": {"ssr", "ssr_ci", "m_o", "m_o_ci"} | null,                        # foreground minus full image
 "m_h": M-H of `object` | null, "m_h_error", "m_h_ci", "dreambench": {"categories": {c: H}, "humans": {c: H}, "all_categories"},
 "answers": {benchmark: {pairs, bad_json, bad_score, clipped, …}},           # of pair scorers
 "reasons": {"m_h": "DreamBench++ is not selected"}}
H = {m_h, error, pairs, scored, methods: {method: {value, error}}}             # humans: one group against the other
V = {ssr, ssr_mean, pa, pa_table, n, trials, identities, ssr_ci: [lo, hi], …, cosine: {positive, distractor, random}}
```

`pa` counts pairs of images; `pa_table` is what the paper prints (docs/decisions.md). `n` counts identities with a valid margin, `identities` all.
Intervals are 95 % bootstrap percentiles over identities, where an identity is drawn with all its sources; draws depend only on seed and
test set, so that all scorers get the same ones. `masking` is that of the headline group and draws an identity in both conditions
together. `m_h_ci` draws reference subjects, each with all prompts and methods.

## Text files

| file | content |
|---|---|
| `inputs/<path>.tsv` | the user's files at the last planning: name, size, hash of the content |
| `data/splits.json` | `{"train": [row, …], "val": […], "test": […], "seed": s}`; `seed` is null where the splits are official |
| `data/dropped.tsv` | `name  view  reason`; the header is always there |
| `data/funnel.tsv` | `step  kept  dropped` of identities, an empty line, `count  found  paper  difference`; with official lists also `official split  listed  by id and asset  by asset  not here` |
| `data/raters/` | with `dreambench.simulated`: `samples/<method>/{src_image,tgt_image}/<subject>/<prompt>_0.png` and `data_human_rating/merged_data/{group1,group2}/<method>-cp.json`, as DreamBench++ has them |
| `distractors/<source>/<shard>.report.json` | counts, retries, empty slots with reasons, and `parts`: how many jobs painted it |
| `scores/<scorer>/<benchmark>.answers.jsonl` | a line per pair: `key` (hash of all that the answer depends on), `shown`, `answer` |

## State of runs that were stopped

These files are not declared to Snakemake. Each is keyed by everything that it depends on, and you may delete them between runs: `.progress`
folders of data, distractors, heads and scores; `heads/<ablation>/.waiting` (a complete head that the job of another head of the pack has
trained, until its own job takes it; scorers may read it before); `scores/<scorer>/.kept` (scores by source, so that for a new source only
that one is scored, and scores that the job of another scorer has made); `heads/.images` (unpacked images of `tokens: online`);
`heads/.packs/<first>`, `scores/.packs/<benchmark>.<backbone>` (locks of packs); `.lock` (held by the run that is active in this folder).
"""


def print_page() -> None:
    """The whole page, to standard output."""
    print(
        "# File formats\n\nPaths below `results/<name>/`, written by `make docs`. What each file is for: [outputs](outputs.md)."
    )
    print("A format's number is part of the fingerprint of the steps that write or read it ([reruns](reruns.md)).\n")
    print("| format | number |\n|---|---|")
    print("\n".join(f"| {name} | {number} |" for name, number in FORMATS.items()))
    for path, (name, schema, meaning) in TABLES.items():
        print(f"\n## {name.replace('_', ' ').capitalize()}: `{path}`\n\n{meaning}\n\n{_columns(schema)}")
    print(f"\n{REST}", end="")


def _columns(schema: pa.Schema) -> str:
    """`a`, `b` int64; `c` string: neighbours of one type together."""
    groups: list[tuple[str, list[str]]] = []
    for field in schema:
        kind = "image" if field.type == IMAGE else str(field.type)
        if not groups or groups[-1][0] != kind:
            groups.append((kind, []))
        groups[-1][1].append(f"`{field.name}`")
    return "; ".join(f"{', '.join(names)} {kind}" for kind, names in groups) + "."


if __name__ == "__main__":
    print_page()
