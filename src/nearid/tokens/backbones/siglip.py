"""SigLIP and fixed-resolution SigLIP 2 vision models of transformers, from a local folder or the local hub cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, SiglipVisionConfig, SiglipVisionModel
from transformers.utils import logging

from nearid.errors import UserError
from nearid.io.hashing import hash_json


class Backbone:
    """A frozen SigLIP vision model with its own image processor (the PIL one, as the authors used; data.md 4.2).

    Args:
        settings: `path` (folder of a `SiglipModel` or `SiglipVisionModel`, or a hub id in the local cache),
            `revision` (of a hub id, else ""), `precision` (float32, float16, bfloat16), `batch_size`.

    Raises:
        UserError: no such model, not a fixed-resolution SigLIP, or weights missing or damaged.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._path = settings["path"]
        self.batch_size = int(settings["batch_size"])
        source: dict[str, Any] = {"revision": settings["revision"] or None, "local_files_only": True}
        dtype = getattr(torch, settings["precision"])
        try:
            kind = AutoConfig.from_pretrained(self._path, **source).model_type
            if kind not in ("siglip", "siglip_vision_model"):
                raise self._refuse(f"model type {kind!r}", "a fixed-resolution SigLIP (`siglip`)")
            # "pil" by name: with torchvision installed, transformers would resize in another way.
            self.processor = AutoImageProcessor.from_pretrained(self._path, backend="pil", **source)
            with _quiet():
                loaded: Any = SiglipVisionModel.from_pretrained(
                    self._path, dtype=dtype, output_loading_info=True, **source
                )
            model, report = loaded
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise self._refuse(
                f"no model to load ({reason})", "config.json, preprocessor_config.json and whole weights"
            ) from error
        missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
        if missing or not model.config.vision_use_head:
            raise self._refuse(f"no weights for {missing[:3] or 'the pooling head'}", "all of the vision model")
        self.config: SiglipVisionConfig = model.config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.weights_hash = _hash_state(model.state_dict())
        self.preprocess_hash = hash_json(self.processor.to_dict())

    @property
    def token_shape(self) -> tuple[int, int]:
        """(tokens, dim) of one image."""
        return self.model.embeddings.num_patches, self.config.hidden_size

    def preprocess(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Pixels [images, 3, size, size], float32, of images [h, w, 3]; may run in any thread."""
        pixels = self.processor([Image.fromarray(image) for image in images], return_tensors="pt")["pixel_values"]
        expected = (len(images), 3, self.config.image_size, self.config.image_size)
        if pixels.shape != expected:
            raise self._refuse(f"a processor that gives {tuple(pixels.shape)}", f"pixels {expected} for the model")
        return pixels

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Patch tokens [images, tokens, dim] after the last layer norm, of preprocessed pixels."""
        # The trunk alone: `forward` would also run the pooling head.
        hidden = self.model.embeddings(pixels.to(self.device, self.model.dtype))
        hidden = self.model.encoder(inputs_embeds=hidden).last_hidden_state
        return self.model.post_layernorm(hidden)

    def tokens(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Patch tokens [images, tokens, dim] after the last layer norm, of images [h, w, 3]."""
        return self.encode(self.preprocess(images))

    @torch.no_grad()
    def pooled(self, tokens: Tensor) -> Tensor:
        """The model's own embeddings [images, dim] of patch tokens [images, tokens, dim]: its MAP head's output."""
        return self.model.head(tokens.to(self.device, self.model.dtype))

    def head_state(self) -> dict[str, Tensor]:
        """State dict of the model's `SiglipMultiheadAttentionPoolingHead`, float32 on the CPU."""
        return {name: value.to("cpu", torch.float32, copy=True) for name, value in self.model.head.state_dict().items()}

    def _refuse(self, found: str, expected: str) -> UserError:
        return UserError(
            f"backbone {self._path}", found, expected, "mend `path` in config's `backbones`, or fetch or make the model"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    # Else transformers lists every weight of the text tower, which we leave out knowingly, and draws a bar into logs.
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _hash_state(state: Mapping[str, Tensor]) -> str:
    # Of the vision model's weights as loaded, so that file layout and text tower do not count, and the precision does.
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
