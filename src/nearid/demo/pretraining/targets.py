"""Local statistics of an image as targets of masked feature prediction: what surfaces look like around each patch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LEVELS = 4  # colour bins per channel
DIRECTIONS = 8  # bins of edge direction, over half a turn
N_STATISTICS = 3 * (LEVELS**3 + DIRECTIONS + 1)
_SCALE = 4.0  # square roots of shares are small numbers; this brings them to about unit spread


def describe_surroundings(pixels: Tensor, alpha: Tensor, patch_px: int) -> Tensor:
    """Histograms of colour and of edge direction over a patch, its 3 x 3 neighbours, and its whole region.

    A patch on the object counts only object pixels, any other only scene pixels: in a neighbourhood the two would mix.

    Args:
        pixels: images in [-1, 1] [n, 3, h, w]. alpha: 1 on the object [n, h, w].

    Returns:
        Square roots of shares, scaled [n, patches, 3 * (64 + 9)]; pixels without an edge have a bin of their own.
    """
    features = torch.cat([_bin_colours(pixels, alpha, patch_px), _bin_edges(pixels, alpha, patch_px)], dim=2)
    # features: [n, 2 (object, scene), bins, rows, columns], sums of pixels
    n, _, bins, rows, columns = features.shape
    flat = features.reshape(n * 2 * bins, 1, rows, columns)
    near = functional.avg_pool2d(flat, 3, stride=1, padding=1) * 9
    everywhere = flat.sum((2, 3), keepdim=True).expand(-1, -1, rows, columns)
    scales = torch.stack([flat, near, everywhere]).reshape(3, n, 2, bins, rows, columns)
    on_object = functional.avg_pool2d(alpha[:, None], patch_px)[:, 0] > 0.5  # [n, rows, columns]
    own = torch.where(on_object[None, :, None], scales[:, :, 0], scales[:, :, 1])  # [3, n, bins, rows, columns]
    colours = own[:, :, : LEVELS**3]
    shares = own / colours.sum(2, keepdim=True).clamp_min(1.0)
    return _SCALE * shares.clamp_min(0).sqrt().permute(1, 3, 4, 0, 2).reshape(n, rows * columns, 3 * bins)


def _bin_colours(pixels: Tensor, alpha: Tensor, patch_px: int) -> Tensor:
    level = ((pixels + 1) / 2 * LEVELS).long().clamp(0, LEVELS - 1)
    return _count((level[:, 0] * LEVELS + level[:, 1]) * LEVELS + level[:, 2], LEVELS**3, alpha, patch_px)


def _bin_edges(pixels: Tensor, alpha: Tensor, patch_px: int) -> Tensor:
    padded = functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    strength, channel = (across.square() + down.square()).max(1, keepdim=True)
    across, down = across.gather(1, channel)[:, 0], down.gather(1, channel)[:, 0]
    turn = torch.remainder(torch.atan2(down, across) / torch.pi, 1.0)
    direction = (turn * DIRECTIONS).long().clamp(0, DIRECTIONS - 1)
    direction = torch.where(strength[:, 0] < 0.05, DIRECTIONS, direction)
    return _count(direction, DIRECTIONS + 1, alpha, patch_px)


def _count(index: Tensor, bins: int, alpha: Tensor, patch_px: int) -> Tensor:
    """Pixels per bin, on the object and off it, per patch [n, 2, bins, rows, columns]."""
    n, height, width = index.shape
    rows, columns = height // patch_px, width // patch_px
    place = torch.arange(rows).repeat_interleave(patch_px)[:, None] * columns
    place = place + torch.arange(columns).repeat_interleave(patch_px)[None]
    region = (alpha <= 0.5).long()
    image = torch.arange(n)[:, None, None]
    cell = ((image * 2 + region) * bins + index) * (rows * columns) + place
    counts = torch.bincount(cell.reshape(-1), minlength=n * 2 * bins * rows * columns)
    return counts.reshape(n, 2, bins, rows, columns).float()
