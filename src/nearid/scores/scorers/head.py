"""A trained pooling head on the cached tokens of its frozen backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import SiglipVisionConfig

from nearid.errors import UserError
from nearid.heads.map_head import MAPHead
from nearid.io.files import read_json
from nearid.scores.embeddings import embed_tokens
from nearid.scores.scorers import ImageKey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nearid.layout import Layout


class Scorer:
    """Reads cached tokens by the head of `ablation`, or by the one in the folder `path` (trained elsewhere)."""

    def __init__(self, settings: Mapping[str, Any], layout: Layout) -> None:
        self._settings, self._layout = settings, layout
        scorer = settings["scorer"]
        if bool(scorer.get("ablation")) == bool(scorer.get("path")):
            raise UserError(
                f"scorers.{settings['scorer_id']}",
                f"ablation {scorer.get('ablation')!r}, path {scorer.get('path')!r}",
                "one of the two",
                "mend the config",
            )
        self.folder = layout.head(scorer["ablation"]) if scorer.get("ablation") else Path(scorer["path"])

    def embed(self, collection: str, images: Sequence[ImageKey]) -> NDArray[np.float32]:
        """Unit vectors `[images, dim]` of the images' cached tokens."""
        return embed_tokens(self._read_out, self._settings, self._layout, collection, images)

    def _read_out(self, tokens: Tensor) -> Tensor:
        dim = self._head.probe.shape[-1]
        if tokens.shape[-1] != dim:
            raise UserError(
                self.folder,
                f"a head for {dim}-dimensional tokens",
                f"{tokens.shape[-1]} dimensions, as the tokens of {self._settings['backbone_id']}",
                "score with the tokens of the backbone that the head was trained on",
            )
        return self._head(tokens)

    @cached_property
    def _head(self) -> MAPHead:
        return load_head(self.folder)


def load_head(folder: Path) -> MAPHead:
    """The head that `train_head` wrote to `folder`.

    Raises:
        UserError: a file is missing or cut off, or the weights are not those of the configured head.
    """
    remedy = "train the head again (`train_head`), or mend the path"
    try:
        head = MAPHead(SiglipVisionConfig.from_dict(read_json(folder / "config.json")["vision_config"]))
        head.load_state_dict(load_file(folder / "head.safetensors"))
    except FileNotFoundError as error:
        raise UserError(folder, f"no {Path(error.filename or 'head.safetensors').name}", "a head", remedy) from error
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(folder, f"no readable head ({error})", "config.json and head.safetensors", remedy) from error
    return head.eval().requires_grad_(False)
