"""Frozen vision models of transformers, from a local folder or the local hub cache: what all backbones share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor

from nearid.config.settings.tokens import BackboneSettings
from nearid.distributed.devices import choose_device
from nearid.errors import UserError
from nearid.io.hashing import hash_json
from nearid.io.images import UnpreparedError, prepare_picture
from nearid.io.model_folders import load_pretrained, refuse_unreadable

# Options of an image processor that keep an image's 8-bit levels.
_LEVELS_ONLY = {"do_rescale": False, "do_normalize": False}


class PretrainedVision:
    """A frozen vision model with its own image processor (the PIL one, as the authors used; docs/protocol.md 4.2).

    A subclass names the model types it takes and the class that loads them, and defines its tokens (`forward`) and its
    own embedding (`pooled`; see `nearid.tokens.backbones.Backbone`).

    Args:
        settings: of the backbone; `path` is a folder, or a hub id in the local cache with its `revision`.
        loader: class of transformers whose `from_pretrained` gives the model.
        model_types: those that `loader` takes; empty for any.
        kind: what `model_types` are, in words for messages.
        optional: prefixes of weights that may be missing; `missing` lists those that are.

    Raises:
        UserError: no such model, of another type, or weights missing or damaged.
    """

    prefix_tokens = 0
    """Number of tokens before an image's patches (a class token, registers)."""
    map_head = False
    """Whether a `SiglipMultiheadAttentionPoolingHead` pools its tokens into its own embedding."""

    def __init__(
        self,
        settings: BackboneSettings,
        loader: Any,
        model_types: Sequence[str],
        kind: str,
        optional: tuple[str, ...] = (),
    ) -> None:
        self._path = settings.path
        self.batch_size = settings.batch_size
        source: dict[str, Any] = {"revision": settings.revision or None, "local_files_only": True}
        self._autocast = settings.precision.startswith("autocast_")
        self._computed = getattr(torch, settings.precision.removeprefix("autocast_"))
        dtype = torch.float32 if self._autocast else self._computed
        self._compiled = torch.compile(self.forward, dynamic=False) if settings.compile else None
        try:
            found = load_pretrained(AutoConfig, self._path, **source).model_type
            if model_types and found not in model_types:
                raise self._refuse(f"model type {found!r}", kind)
            # "pil" explicitly: with torchvision installed, transformers would resize differently.
            self.processor = load_pretrained(AutoImageProcessor, self._path, backend="pil", **source)
            # Never a pickle: it can run arbitrary code.
            loaded: Any = load_pretrained(
                loader, self._path, dtype=dtype, output_loading_info=True, use_safetensors=True, **source
            )
            model, report = loaded
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            refuse_unreadable(self._path, error)
            reason = str(error).strip().splitlines()[0]
            raise self._refuse(
                f"no model to load ({reason})", "config.json, preprocessor_config.json and whole weights"
            ) from error
        self.missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
        needed = [name for name in self.missing if not name.startswith(optional)] if optional else self.missing
        if needed:
            raise self._refuse(f"no weights for {needed[:3]}", "all of the vision model")
        self.config: Any = model.config
        self.device = choose_device()
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.weights_hash = _hash_state(model.state_dict())
        if self._autocast:
            # The weights equal those of float32, but the tokens do not.
            self.weights_hash = hash_json([self.weights_hash, settings.precision])
        self.preprocess_hash = hash_json(self.processor.to_dict())
        levels = read_levels(self.processor)
        self._levels = None if levels is None else levels.to(self.device, self.model.dtype)

    @cached_property
    def token_shape(self) -> tuple[int, int]:
        """(tokens, dim) of one image."""
        count, dim = self.tokens([np.zeros((32, 32, 3), np.uint8)]).shape[1:]
        return count, dim

    def preprocess(self, images: Iterable[NDArray[np.uint8]]) -> Tensor:
        """Pixels [images, 3, height, width] of images [h, w, 3]; may run in any thread.

        Pixels are uint8, a quarter of the bytes to hold and to copy; they are normalised on the model's device, with
        exactly the result of the image processor. If that does more than map each of the 256 levels to a value
        (`read_levels`), they are float32. Images are processed one at a time, so that large ones are never in memory
        together.

        Raises:
            UnpreparedError: the processor cannot handle an image, or makes it another size than the first.
        """
        each: list[Tensor] = []
        for image in images:
            asked = {} if self._levels is None else _LEVELS_ONLY
            each.append(prepare_picture(self.processor, Image.fromarray(image), len(each), **asked))
            if each[-1].shape != each[0].shape:
                (*_, first_height, first_width), (*_, height, width) = each[0].shape, each[-1].shape
                raise UnpreparedError(
                    f"backbone {self._path}",
                    f"its image processor gives {width} x {height} px, of another {first_width} x {first_height} px",
                    "one size for all pictures",
                    "set `do_center_crop` and `crop_size`, or height and width in `size`, in preprocessor_config.json",
                    place=len(each) - 1,
                )
        pixels = torch.cat(each)
        # Pinned memory can be copied while the device computes.
        return pixels.pin_memory() if self.device.type == "cuda" else pixels

    def on_device(self, pixels: Tensor) -> Tensor:
        """Preprocessed `pixels` on the model's device in its dtype; uint8 is normalised."""
        pixels = pixels.to(self.device, non_blocking=True)
        if pixels.dtype != torch.uint8 or self._levels is None:
            return pixels.to(self.model.dtype)
        channels = torch.arange(len(self._levels), device=self.device)[:, None, None]
        return self._levels[channels, pixels.int()]

    def forward(self, pixels: Tensor) -> Tensor:
        """Tokens [images, tokens, dim] of pixels on the device."""
        raise NotImplementedError

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Tokens [images, tokens, dim] of preprocessed pixels."""
        count, pixels = len(pixels), self.on_device(pixels)
        with torch.autocast(self.device.type, self._computed) if self._autocast else nullcontext():
            if self._compiled is None:
                return self.forward(pixels)
            # Padded to one shape: for another, the last batch's, a program would be compiled that rounds differently.
            more = pixels[-1:].expand(max(0, self.batch_size - count), *pixels.shape[1:])
            tokens: Tensor = self._compiled(torch.cat([pixels, more]))[:count]
            return tokens

    def tokens(self, images: Iterable[NDArray[np.uint8]]) -> Tensor:
        """Tokens [images, tokens, dim] of images [h, w, 3]."""
        return self.encode(self.preprocess(images))

    def head_state(self) -> dict[str, Tensor]:
        """State dict of the model's own `SiglipMultiheadAttentionPoolingHead`; UserError without `map_head`."""
        raise self._refuse(f"{type(self.model).__name__}, without attention-pooling head", "a SigLIP to train heads on")

    def _refuse(self, found: str, expected: str) -> UserError:
        return UserError(
            f"backbone {self._path}",
            found,
            expected,
            "correct `path` in config's `backbones`, or fetch or make the model",
        )


def read_levels(processor: Any) -> Tensor | None:
    """The value that an image processor maps each of the 256 levels to, [channels, 256] float32.

    None if, after resizing and cropping, the processor does anything else with an image.
    """
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    sample = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8))
    try:
        ramp = processor(Image.fromarray(levels), do_resize=False, do_center_crop=False, return_tensors="pt")
        table: Tensor = ramp["pixel_values"].reshape(3, 256).float()
        expected = processor(sample, return_tensors="pt")["pixel_values"]
        found = processor(sample, return_tensors="pt", **_LEVELS_ONLY)["pixel_values"]
        channels = torch.arange(3)[:, None, None]
        same = found.dtype == torch.uint8 and torch.equal(table[channels, found.int()], expected)
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError):
        return None
    return table if same else None


def _hash_state(state: Mapping[str, Tensor]) -> str:
    # Hashes the vision model's weights as loaded, so that precision counts, but not file layout or text tower.
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
