"""Stand-in: correspondences of cells by colour."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

CELLS = 6


class StandInModel(nn.Module):
    """A model with one weight, whose answers have the keys of the real model's `inference`."""

    def __init__(self, features: Any, config: Any, device: Any, dtype: torch.dtype) -> None:
        super().__init__()
        assert features == "features"
        self.scale = nn.Parameter(torch.zeros(()))

    def inference(
        self,
        first: Any,
        second: Any,
        img1_obj_mask_p: Any,
        img2_obj_mask_p: Any,
        transform: Callable[[Any], Tensor],
        return_correspondences: bool,
    ) -> dict[str, Tensor]:
        """Best matches of the first object's cells in the second."""
        assert return_correspondences and first.size == second.size == img1_obj_mask_p.size == (768, 768)
        cells = [nn.functional.adaptive_avg_pool2d(transform(image), CELLS).flatten(1).T for image in (first, second)]
        inside = [
            nn.functional.adaptive_avg_pool2d(transform(mask), CELLS).flatten() > 0.2
            for mask in (img1_obj_mask_p, img2_obj_mask_p)
        ]
        scores = 1 - torch.cdist(cells[0][inside[0]], cells[1][inside[1]]) * self.scale
        best, target = scores.max(1)
        columns = torch.arange(CELLS**2)[inside[1]][target]
        return {
            "target_points_s": torch.stack([columns % CELLS, columns // CELLS], 1) * 128,
            "matching_score_maps_max_s": best,
            "matching_score_maps_max_v": 2 * best - 1,
        }
