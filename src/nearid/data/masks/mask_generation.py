"""Masks from any mask-generation model of transformers (SAM, SAM 2, ...), prompted near the middle of the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForMaskGeneration, AutoProcessor

from nearid.errors import UserError
from nearid.io.model_folders import load_pretrained, load_whole

if TYPE_CHECKING:
    from nearid.config.schema.dataset import ImageFolder

# The middle and four points around it, as fractions of width and height; each is a separate prompt.
_POINTS = ((0.5, 0.5), (0.4, 0.5), (0.6, 0.5), (0.5, 0.4), (0.5, 0.6))
_LEAST_AREA, _MOST_AREA = 0.01, 0.75


class Estimator:
    """The best of the masks that the model finds at the middle; see `nearid.data.masks.Estimator`.

    Args:
        options: `mask_model`, a folder with a model and its processor.

    Raises:
        UserError: no model there.
    """

    def __init__(self, options: ImageFolder) -> None:
        path = options.mask_model
        try:
            self._processor = load_pretrained(AutoProcessor, path, local_files_only=True)
            self._model = load_whole(AutoModelForMaskGeneration, path, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            raise UserError(
                "dataset.image_folder.mask_model",
                f"{path!r} does not load: {str(error).splitlines()[0]}",
                "a folder saved by save_pretrained with a mask-generation model (SAM, SAM 2, ...) and its processor",
                "fetch one, or use mask_estimator: grabcut",
            ) from error

    @torch.inference_mode()
    def estimate(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Mask `[h, w]` of the object in `image` `[h, w, 3]`."""
        height, width = image.shape[:2]
        points = [[[x * width, y * height]] for x, y in _POINTS]
        inputs = self._processor(images=image, input_points=[points], return_tensors="pt")
        outputs = self._model(**inputs)
        # SAM's processor also gives the size before padding; those of SAM 2 and later need none.
        sizes = [inputs[key] for key in ("original_sizes", "reshaped_input_sizes") if key in inputs]
        masks = self._processor.post_process_masks(outputs.pred_masks, *sizes)[0].flatten(0, 1).numpy() > 0
        return choose_mask(masks, outputs.iou_scores.flatten().numpy())


def choose_mask(masks: NDArray[np.bool_], quality: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """The mask `[h, w]` of `masks` `[n, h, w]` that is most likely the one object of a picture.

    The best has a high `quality` `[n]` by the model's own rating, a large area, its centre near the middle and little
    contact with the border. Masks of under 1 % or over 75 % of the picture are left out; all False if none is left.
    """
    height, width = masks.shape[1:]
    best, chosen = -np.inf, np.zeros((height, width), bool)
    for mask, score in zip(masks, quality, strict=True):
        if not _LEAST_AREA <= mask.mean() <= _MOST_AREA:
            continue
        rows, columns = np.nonzero(mask)
        off = np.hypot(columns.mean() / width - 0.5, rows.mean() / height - 0.5)
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
        # The square root of the area favours the whole object over its parts, which the model rates as highly.
        value = float(score) + np.sqrt(mask.mean()) - off - border
        if value > best:
            best, chosen = value, mask
    return chosen
