"""Figure 3: where the frozen and the trained head look, on an object and its distractor; and what each method needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nearid.config.settings.paper import ComputeFigure
from nearid.errors import UserError
from nearid.io.images import decode_rgb
from nearid.io.tables import image_bytes, read_table
from nearid.layout import Layout
from nearid.paper.figures import Arrays
from nearid.paper.identities import choose_identities
from nearid.paper.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from nearid.paper.style import Look

# Scorers that are given the object's mask when they compare.
_USES_MASKS = ("vsm", "colour_histogram")


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """Attention of both heads, mean over heads of attention (paper figure 3 left), and a summary of methods (right).

    Returns:
        `images` [identities, 2, size, size, 3]: a view and the distractor painted into it; `attention`
        [identities, 2, 2, side, side]: picture, head (frozen, trained), sums to one; `names` of the heads and source;
        `methods`, `rejection`, `parts` (SSR of NearID-bench and MTG, NaN: none), `masks`: per scorer.

    Raises:
        UserError: identities, images, tokens or the head are missing.
    """
    from safetensors.torch import load_file

    from nearid.heads.map_head import MAPHead
    from nearid.tokens.backbones import load_backbone
    from nearid.tokens.store import open_tokens

    run, source, size = settings.run, settings.source, settings.size_px
    chosen = choose_identities(layout, settings.split, settings.identities, settings.seed, "figure3")
    backbone = load_backbone(settings.backbone)
    trained = layout.head_file(settings.ablation)
    if not trained.is_file():
        raise UserError(
            trained, "no such file", "the trained head", f"run `nearid heads train --ablation {settings.ablation}`"
        )
    head = MAPHead(backbone.config)

    stores = {
        collection: open_tokens(layout, settings.backbone_id, collection, settings.token_shards[collection])
        for collection in ("positives", source)
    }
    images = np.zeros((len(chosen), 2, size, size, 3), np.uint8)
    tokens = []
    for row, identity in enumerate(chosen):
        files = ((layout.positives(identity.shard), "images1"), (layout.distractors(source, identity.shard), "nimg1"))
        for column, ((path, name), collection) in enumerate(zip(files, ("positives", source), strict=True)):
            content = image_bytes(read_table(path, [name])[name][identity.shard_row].as_py())
            if content is None:
                raise UserError(path, f"no {name} of id {identity.id}", "a distractor of view 1", "choose another seed")
            pixels = Image.fromarray(decode_rgb(content, f"{path}, id {identity.id}"))
            # Resized as for the encoder, which does not keep the aspect ratio.
            images[row, column] = np.asarray(pixels.resize((size, size), Image.Resampling.LANCZOS))
            tokens.append(stores[collection].read([stores[collection].find(identity.id, 0, "full")])[0])
    for store in stores.values():
        store.close()
    batch = np.stack(tokens)
    maps = [_attend(head, state, batch) for state in (backbone.head_state(), load_file(trained))]
    attention = np.stack(maps, axis=1).reshape(len(chosen), 2, 2, *maps[0].shape[1:])
    metrics = read_metrics(layout, [scorer.id for scorer in run.scorers])
    cells = [
        (metrics[scorer.id].rate("ssr", run.headline_group), metrics[scorer.id].mtg("mtg_ssr"))
        for scorer in run.scorers
    ]
    return {
        "images": images,
        "attention": attention,
        "ids": np.array([identity.id for identity in chosen]),
        "names": np.array([settings.display.frozen, settings.display.trained, settings.display.distractors]),
        "methods": np.array([scorer.display for scorer in run.scorers]),
        "rejection": np.array([np.nan if cell.value is None else cell.value for cell, _ in cells]),
        "parts": np.array([np.nan if cell.value is None else cell.value for _, cell in cells]),
        "masks": np.array([scorer.kind in _USES_MASKS for scorer in run.scorers]),
    }


def _attend(head: Any, state: Mapping[str, Tensor], tokens: NDArray[np.float16]) -> NDArray[np.float64]:
    """Mean attention [n, side, side] of a head over square token grids."""
    import torch

    head.load_state_dict(state)
    attention = head.attend(torch.from_numpy(tokens).float()).mean(1).double().numpy()
    side = round(attention.shape[1] ** 0.5)
    return attention.reshape(-1, side, side)


def plot(arrays: Arrays, look: Look) -> Figure:
    """Pictures with attention laid over, one scale per head; beside them the methods' properties."""
    from nearid.paper.style import MUTED

    frozen, trained, source = arrays["names"]
    rows = len(arrays["ids"])
    figure = look.canvas(height_in=max(1.34 * 2 * rows + 0.3, 2.2))
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.55, 1))
    left, right = halves
    panels = left.subplots(2 * rows, 3, squeeze=False)
    for row in range(rows):
        for picture, label in enumerate(("view", f"distractor\n({source})")):
            line = panels[2 * row + picture]
            image = arrays["images"][row, picture]
            line[0].imshow(image)
            line[0].set_ylabel(label)
            for head, axes in enumerate(line[1:]):
                values = arrays["attention"][row, picture, head]
                heat = np.asarray(
                    Image.fromarray(values.astype(np.float32)).resize(image.shape[1::-1], Image.Resampling.BICUBIC)
                )
                axes.imshow(np.asarray(ImageOps.grayscale(Image.fromarray(image))), cmap="gray", vmin=0, vmax=255)
                top = float(arrays["attention"][row, :, head].max())
                axes.imshow(heat, cmap="inferno", alpha=0.6, vmin=0, vmax=top)
            for axes, title in zip(line, ("image", f"{frozen}", trained), strict=True):
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if row == picture == 0:
                    axes.set_title(title)
    axes = right.subplots()
    names = arrays["methods"]
    places = np.arange(len(names))[::-1]
    for offset, key, label in (
        (0.2, "rejection", "rejects near-identities (SSR)"),
        (-0.2, "parts", "sees edited parts (MTG SSR)"),
    ):
        values = arrays[key]
        axes.barh(
            places + offset, np.nan_to_num(values), 0.36, color=look.colour(0 if key == "rejection" else 1), label=label
        )
        for place, value in zip(places + offset, values, strict=True):
            text = "not measured" if np.isnan(value) else f"{value:.0f}"
            axes.text(np.nan_to_num(value) + 1, place, text, va="center", color=MUTED, fontsize=look.font_size - 1)
    axes.set_yticks(
        places,
        [
            f"{name}\n{'needs masks' if masks else 'no masks needed'}"
            for name, masks in zip(names, arrays["masks"], strict=True)
        ],
    )
    axes.set(xlim=(0, 112), xlabel="per cent")
    right.legend(loc="outside lower center", ncols=1)
    return figure
