"""The README.md of an export: what it is, how it was measured, how to load it, licence and citation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import yaml

from nearid.io.sheets import one_line

CITATION = """```bibtex
@article{cvejic2026nearid,
  title={NearID: Identity Representation Learning via Near-identity Distractors},
  author={Cvejic, Aleksandar and Abdal, Rameen and Eldesokey, Abdelrahman and Ghanem, Bernard and Wonka, Peter},
  journal={arXiv:2604.01973},
  year={2026}
}
```

This was made with a reproduction of that paper, not by its authors.
"""
USE = {
    "siglip": """```python
import torch
from PIL import Image
from transformers import AutoImageProcessor, SiglipVisionModel

model = SiglipVisionModel.from_pretrained("DIR")
processor = AutoImageProcessor.from_pretrained("DIR")
images = [Image.open("a.jpg").convert("RGB"), Image.open("b.jpg").convert("RGB")]
pixels = processor(images, return_tensors="pt")["pixel_values"]
with torch.inference_mode():
    embeddings = torch.nn.functional.normalize(model(pixels).pooler_output, dim=-1)
print(embeddings[0] @ embeddings[1])  # near 1: the same object
```""",
    "release": """The authors' layout (`model_type: nearid`, weights under `backbone.`). With their package:

```python
from nearid.modeling_nearid import NearIDModel  # github.com/Gorluxor/NearID
from transformers import AutoImageProcessor

model = NearIDModel.from_pretrained("DIR")
processor = AutoImageProcessor.from_pretrained("DIR")
```""",
}


@dataclass(frozen=True)
class Facts:
    """What a model card says of a trained head.

    Attributes:
        display: name of the ablation.
        settings: of its training, from the head's `config.json`; they may come from any version of this package.
        run: name of the results folder.
        data: one sentence on the kind of data.
        licence: of the backbone, which the model inherits.
        metrics: `metrics.json` of its scorer; None if it was not scored.
        parameters: number of weights, of the head and of the whole model.
    """

    display: str
    settings: Mapping[str, Any]
    run: str
    data: str
    licence: str
    metrics: Mapping[str, Any] | None
    parameters: tuple[int, int]


def model_card(facts: Facts, form: str) -> str:
    """The card of an exported model in layout `form` (`siglip` or `release`)."""
    rows = metric_rows(facts.metrics) if facts.metrics else []
    head: dict[str, Any] = {
        "license": facts.licence,
        "library_name": "transformers",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["nearid", "identity-embedding", "siglip", "image-similarity"],
    }
    settings, training = facts.settings, facts.settings["training"]
    terms = ", ".join(f"{key} {value}" for key, value in sorted(settings["params"].items())) or "no parameters"
    head_size, size = facts.parameters
    sources = ", ".join(settings["mix"]["sources"]) or "none"
    table = "".join(f"| {name} | {value} | {interval} | {count} |\n" for name, value, interval, count in rows)
    measured = (
        f"| metric | value | 95 % interval | count |\n|---|---|---|---|\n{table}"
        if rows
        else "This head was not scored in its run.\n"
    )
    return f"""---
{yaml.safe_dump(head, sort_keys=False)}---

# {_plain(facts.display)}

A frozen SigLIP vision model whose attention-pooling head ({head_size:,} of {size:,} weights) was trained to tell *the
same object* from one like it on the same background. Cosines of its embeddings say how alike two identities are.

{facts.data}

## Use

{USE[form]}

## Measured in the run `{_plain(facts.run)}`

{measured}
SSR: identities of which every margin is won; PA: margins that are won. Both in percent, on test identities.

## Training

Objective `{settings["objective"]}` ({terms}), {training["epochs"]} epochs, batches of {training["batch_size"]},
learning rate {training["learning_rate"]}, seed {settings["seed"]}, distractors from {sources}.
`nearid_run.json` has all settings and versions.

## Licence and citation

{facts.licence}, as the backbone's.

{CITATION}"""


def _plain(text: str) -> str:
    """A text of the config on one line, in which neither Markdown nor HTML finds markup."""
    return escape(one_line(text), quote=False).replace("`", "'").replace("[", r"\[")


def metric_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, int | str]]:
    """(name, value, interval, count) of a scorer's metrics, in the order of its file; missing ones are left out."""
    rows: list[tuple[str, str, str, int | str]] = []

    def add(label: str, node: Mapping[str, Any], key: str, count: str, digits: int) -> None:
        if node.get(key) is not None:
            low, high = node.get(f"{key}_ci") or (None, None)
            interval = "" if low is None else f"{low:.{digits}f} to {high:.{digits}f}"
            rows.append((label, f"{node[key]:.{digits}f}", interval, node.get(count, "")))

    groups = ((metrics.get("nearid_bench") or {}).get("full") or {}).get("groups") or {}
    for group, node in groups.items():
        add(f"NearID-bench SSR, {group}", node or {}, "ssr", "n", 1)
        add(f"NearID-bench PA, {group}", node or {}, "pa", "trials", 1)
    edits = (metrics.get("mtg") or {}).get("full") or {}
    for key, label, digits in (("m_o", "M-O", 3), ("mtg_ssr", "SSR", 1), ("mtg_pa", "PA", 1)):
        add(f"part edits, {label}", edits, key, "n", digits)
    add("M-H", metrics, "m_h", "", 3)
    return rows


def data_card(name: str, rows: int, columns: Sequence[str], images: int, note: str, licence: str) -> str:
    """The card of an exported data set, whose front matter tells `datasets` which files are its split."""
    head = {
        "license": licence,
        "pretty_name": name,
        "tags": ["nearid", "identity-embedding", "metric-learning"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]},
        ],
    }
    listed = "\n".join(f"- `{column}`" for column in columns)
    return f"""---
{yaml.safe_dump(head, sort_keys=False)}---

# {name}

{rows} rows, {images} images. {note}

```python
from datasets import load_dataset

rows = load_dataset("DIR", split="train")
```

The columns are those of the released NearID sets. Row r of every set is the same identity (`id`); the positives' column
`split` says where it belongs, whatever the name of the one physical split.

{listed}

{CITATION}"""
