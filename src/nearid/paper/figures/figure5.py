"""Figure 5: a few identities and their distractors in the plane, frozen beside trained, and how training moves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearid.config.settings.paper import ComputeFigure
from nearid.errors import UserError
from nearid.layout import Layout
from nearid.paper.figures import Arrays
from nearid.paper.identities import ShownIdentity, choose_identities

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

    from nearid.paper.style import Look


@dataclass(frozen=True)
class _Images:
    """The images shown: tokens [n, tokens, dim], which identity [n] and whether a distractor [n]."""

    tokens: NDArray[np.float16]
    identity: NDArray[np.int64]
    distractor: NDArray[np.bool_]


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """KernelPCA (cosine kernel, 2-D) of validation identities and one source's distractors (paper figure 5).

    Args:
        settings: of `compute_figure`.
        layout: of the results folder.

    Returns:
        `frozen`, `trained` [n, 2], `identity`, `distractor` [n], `ids` [identities], `names` of panels and source;
        with `timelapse` also `frames` [steps, n, 2] and `steps`, every frame turned onto the last (Procrustes).

    Raises:
        UserError: no identities, missing tokens, or no kept heads to animate.
    """
    from nearid.heads.map_head import MAPHead
    from nearid.tokens.backbones import load_backbone

    chosen = choose_identities(layout, settings.split, settings.identities, settings.seed, "figure5")
    images = _read_images(layout, settings, chosen)
    backbone = load_backbone(settings.backbone)
    head = MAPHead(backbone.config)

    def embed(state: Mapping[str, Tensor]) -> NDArray[np.float64]:
        import torch

        head.load_state_dict(state)
        with torch.inference_mode():
            return head(torch.from_numpy(images.tokens).float()).double().numpy()

    trained = project(embed(_read_state(layout, settings.ablation, "head.safetensors")))
    arrays: Arrays = {
        "frozen": turn(project(embed(backbone.head_state())), trained),
        "trained": trained,
        "identity": images.identity,
        "distractor": images.distractor,
        "ids": np.array([identity.id for identity in chosen]),
        "names": np.array([settings.display.frozen, settings.display.trained, settings.display.distractors]),
    }
    if settings.timelapse:
        kept = _read_state(layout, settings.ablation, "timelapse.safetensors")
        steps = sorted({int(key.split(".")[0].removeprefix("step_")) for key in kept})
        states = [_at_step(kept, step) for step in steps]
        arrays |= {
            "steps": np.array(steps),
            "frames": np.stack([turn(project(embed(state)), trained) for state in states]),
        }
    return arrays


def project(embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
    """The plane [n, 2] of embeddings [n, dim] under KernelPCA with the cosine kernel."""
    from sklearn.decomposition import KernelPCA

    return KernelPCA(n_components=2, kernel="cosine", eigen_solver="dense").fit_transform(embeddings)


def turn(points: NDArray[np.float64], onto: NDArray[np.float64]) -> NDArray[np.float64]:
    """`points` [n, 2] rotated or mirrored to lie closest to `onto` (Procrustes without scaling: spread is a result)."""
    from scipy.linalg import orthogonal_procrustes

    rotation, _ = orthogonal_procrustes(points, onto)
    return points @ rotation


def plot(arrays: Arrays, look: Look) -> Figure:
    """Both panels: circles are views of an object, crosses its distractors; below, stills of the animation."""
    frozen, trained, source = arrays["names"]
    stills = choose_stills(arrays["steps"]) if "frames" in arrays else []
    figure = look.canvas(height_in=(0.53 + 0.35 * bool(stills)) * look.width_in)
    rows: Any = figure.subfigures(2, 1, height_ratios=(0.5, 0.38)) if stills else [figure]
    for axes, key, title in zip(rows[0].subplots(1, 2), ("frozen", "trained"), (frozen, trained), strict=True):
        _scatter(axes, arrays[key], arrays, look)
        _frame(axes, _limit(arrays[key]), title)
    if stills:
        limit = _limit(arrays["frames"])
        for axes, still in zip(rows[1].subplots(1, len(stills), squeeze=False)[0], stills, strict=True):
            _scatter(axes, arrays["frames"][still], arrays, look, scale=0.5)
            _frame(axes, limit, _name_step(arrays["steps"][still]))
    _legend(rows[-1], arrays, look, source)
    return figure


def choose_stills(steps: NDArray[np.int64]) -> list[int]:
    """Frames of the first step, of the one nearest to half the way, and of the last."""
    middle = int(np.abs(steps - steps[-1] / 2).argmin())
    return sorted({0, middle, len(steps) - 1})


def animate(arrays: Arrays, look: Look) -> Iterator[NDArray[np.uint8]] | None:
    """One image per kept step, on shared axes; None if no steps were kept."""
    if "frames" not in arrays:
        return None
    return _draw_frames(arrays, look)


def _draw_frames(arrays: Arrays, look: Look) -> Iterator[NDArray[np.uint8]]:
    from nearid.paper.style import draw_pixels

    limit = _limit(arrays["frames"])
    figure = look.canvas(height_in=0.66 * look.width_in)
    figure.set_size_inches(0.6 * look.width_in, 0.66 * look.width_in)
    axes = figure.subplots()
    _legend(figure, arrays, look, arrays["names"][2])
    for step, points in zip(arrays["steps"], arrays["frames"], strict=True):
        axes.clear()
        _scatter(axes, points, arrays, look)
        _frame(axes, limit, _name_step(step))
        yield draw_pixels(figure, dpi=120)
        # Laid out once, so that the frame stays where it is.
        figure.set_layout_engine("none")


def _name_step(step: int) -> str:
    return f"step {step}" + (" (frozen)" if step == 0 else "")


def _scatter(axes: Axes, points: NDArray[np.float64], arrays: Arrays, look: Look, scale: float = 1.0) -> None:
    from matplotlib.colors import to_rgba

    for index in range(len(arrays["ids"])):
        own = arrays["identity"] == index
        views, distractors = points[own & ~arrays["distractor"]], points[own & arrays["distractor"]]
        colour = look.colour(index)
        size = scale * look.marker_size
        # Light discs under crosses: where a distractor hides its view, as it does when frozen, both stay visible.
        x, y = views.T
        axes.scatter(x, y, s=2 * size, facecolors=to_rgba(colour, 0.3), edgecolors=colour, zorder=2)
        x, y = distractors.T
        axes.scatter(x, y, s=size, c=colour, marker="x", linewidths=1.5, zorder=3)
        if scale == 1:
            # Numbers, for readers who cannot tell the colours apart.
            small: dict[str, Any] = {"fontsize": 0.7 * look.font_size, "ha": "center", "va": "center_baseline"}
            for x, y in views:
                axes.text(x, y, str(index + 1), clip_on=True, zorder=4, **small)


def _frame(axes: Axes, limit: float, title: str) -> None:
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal", title=title)
    axes.spines[:].set_visible(True)


def _limit(points: NDArray[np.float64]) -> float:
    return 1.08 * float(np.abs(points).max())


def _legend(figure: Any, arrays: Arrays, look: Look, source: str) -> None:
    from matplotlib.lines import Line2D

    def mark(label: str, colour: str, marker: str, face: str | None = None) -> Line2D:
        return Line2D([], [], color=colour, marker=marker, mfc=face or colour, linestyle="", label=label, markersize=5)

    handles = [mark(f"S{index + 1}", look.colour(index), "s") for index in range(len(arrays["ids"]))]
    handles += [mark("view", "black", "o", face="lightgrey"), mark(f"distractor ({source})", "black", "x")]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles) if look.width_in / len(handles) > 0.7 and len(figure.axes) > 1 else 5,
        handletextpad=0.1,
        columnspacing=1.0,
    )


def _read_images(layout: Layout, settings: ComputeFigure, chosen: list[ShownIdentity]) -> _Images:
    from nearid.tokens.store import open_tokens

    tokens, owner, distractor = [], [], []
    for collection in ("positives", settings.source):
        store = open_tokens(layout, settings.backbone_id, collection, settings.token_shards[collection])
        places = [
            (index, store.find(identity.id, slot, "full"))
            for index, identity in enumerate(chosen)
            for slot in range(identity.n_images)
            # A view without a distractor of this source is no error: the source's report lists its slot.
            if collection == "positives" or store.contains(identity.id, slot, "full")
        ]
        tokens.append(store.read([place for _, place in places]))
        owner += [index for index, _ in places]
        distractor += [collection != "positives"] * len(places)
        store.close()
    return _Images(np.concatenate(tokens), np.array(owner), np.array(distractor))


def _read_state(layout: Layout, ablation: str, name: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    path = layout.head_file(ablation, name)
    if not path.is_file():
        raise UserError(path, "no such file", "the trained head", f"run `nearid heads train --ablation {ablation}`")
    return load_file(path)


def _at_step(kept: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
    prefix = f"step_{step:06d}."
    return {key.removeprefix(prefix): value for key, value in kept.items() if key.startswith(prefix)}
