"""Backbones for the demo without trained heads: SSR of their read-outs on identities that no run of the demo has.

    snakemake --cores 2 --configfile config/demo.yaml benchmarks/demo_trials.yaml -- \
      results/demo_trials/distractors/{sibling,cut_paste}/00{0,1}.parquet
    python benchmarks/demo_backbones.py src/nearid/demo/siglip results/backbone

The mean of the tokens on the object shows how much the tokens know of it; a head has to find the object first.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from nearid.config.settings.tokens import BackboneSettings
from nearid.io.images import decode_mask, decode_rgb
from nearid.io.tables import read_table
from nearid.margins import VIEW_PAIRS, directed_margins, strict_success
from nearid.tokens.backbones.siglip import Backbone

RUN = Path("results/demo_trials")
SOURCES = {"two": "sibling", "pasted": "cut_paste"}
Rows = list[dict[str, Any]]


def main() -> None:
    """Print a line of JSON per backbone."""
    positives = _read(RUN / "data" / "positives")
    tested = [row for row, one in enumerate(positives) if one["split"] == "test"]
    views = [positives[row] for row in tested]
    others = {
        name: [rows[row] for row in tested]
        for name, rows in ((name, _read(RUN / "distractors" / source)) for name, source in SOURCES.items())
    }
    for folder in sys.argv[1:]:
        settings = {"kind": "siglip", "path": folder, "revision": "", "precision": "float32", "batch_size": 32}
        backbone = Backbone(BackboneSettings.parse(settings))
        seen = _read_out(backbone, views, "images", views)
        found = {name: _ssr(seen, _read_out(backbone, rows, "nimg", views)) for name, rows in others.items()}
        print(json.dumps({folder: found}), flush=True)


def _read(folder: Path) -> Rows:
    return [row for shard in sorted(folder.glob("*.parquet")) for row in read_table(shard).to_pylist()]


def _read_out(backbone: Backbone, rows: Rows, column: str, masked: Rows) -> dict[str, NDArray[np.float32]]:
    """Unit vectors [identities, 3, dim] by read-out, NaN where there is no picture; masks are those of `masked`."""
    places = [(at, slot) for at, row in enumerate(rows) for slot in range(3) if row[f"{column}{slot + 1}"]]
    vectors: dict[str, list[Tensor]] = {"pooled": [], "mean": [], "mean on the object": []}
    for start in range(0, len(places), backbone.batch_size):
        batch = places[start : start + backbone.batch_size]
        with torch.autocast("cpu", torch.bfloat16):
            tokens = backbone.tokens(
                [decode_rgb(rows[at][f"{column}{slot + 1}"]["bytes"]) for at, slot in batch]
            ).float()
        masks = np.stack([decode_mask(masked[at][f"masks{slot + 1}"]["bytes"]) for at, slot in batch])
        patch = masks.shape[-1] // round(tokens.shape[1] ** 0.5)
        weights = avg_pool2d(torch.from_numpy(masks).float()[:, None], patch).flatten(1)
        vectors["pooled"].append(backbone.pooled(tokens))
        vectors["mean"].append(tokens.mean(1))
        vectors["mean on the object"].append((weights[..., None] * tokens).sum(1) / weights.sum(1, keepdim=True))
    found = {}
    for name, parts in vectors.items():
        found[name] = np.full((len(rows), 3, parts[0].shape[-1]), np.nan, np.float32)
        found[name][tuple(np.array(places).T)] = normalize(torch.cat(parts), dim=-1).numpy()
    return found


def _ssr(views: dict[str, NDArray[np.float32]], others: dict[str, NDArray[np.float32]]) -> dict[str, float]:
    """SSR in percent by read-out."""
    found = {}
    for name, ours in views.items():
        columns = {f"sim_{i}{j}": (ours[:, i] * ours[:, j]).sum(-1) for i, j in VIEW_PAIRS}
        columns |= {f"cross_{i}{i}": (ours[:, i] * others[name][:, i]).sum(-1) for i in range(3)}
        found[name] = round(100 * float(strict_success(directed_margins(columns)).mean()), 1)
    return found


if __name__ == "__main__":
    main()
