"""Inpainting with FLUX.1-Canny: the distractor keeps the edges of the view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
from PIL import Image

from nearid.distractors.diffusion import InpaintingBatch
from nearid.distractors.engines import flux_fill

if TYPE_CHECKING:
    from nearid.config.schema.sources import FluxCanny


class Engine(flux_fill.Engine):
    """`FluxControlInpaintPipeline` (paper: 28 steps, guidance 7, strength .99, edges by Canny 50 and 200)."""

    options: FluxCanny
    pipeline: ClassVar[str] = "FluxControlInpaintPipeline"
    required: ClassVar[set[str]] = {"strength", "canny"}

    def call(self, pipe: Any, batch: InpaintingBatch) -> Any:
        """Paint, guided by the edges of the view at working resolution."""
        edges = [_find_edges(image, *self.options.canny) for image in batch.images]
        return pipe(**self.inputs(pipe, batch), control_image=edges, strength=self.options.strength)


def _find_edges(image: Image.Image, low: int, high: int) -> Image.Image:
    edges = cv2.Canny(cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2GRAY), low, high)
    return Image.fromarray(np.repeat(edges[..., None], 3, axis=2))
