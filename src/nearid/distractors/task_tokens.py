"""PowerPaint's text encoder: CLIP with thirty learned tokens that say what to paint (docs/generators.md 3)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTextConfig, CLIPTextModel

from nearid.distractors.brushnet import load_strictly
from nearid.errors import UserError

TASKS = {"object": ("P_obj", "P_obj"), "shape": ("P_shape", "P_ctxt"), "context": ("P_ctxt", "P_ctxt")}
"""Task -> the two words whose embeddings are mixed by the fitting degree."""

_WORDS = ("P_ctxt", "P_shape", "P_obj")
_VECTORS = 10
_TABLE = "embeddings.token_embedding."


class TaskEncoder:
    """Embeds a prompt with a task word: `read("a red mug", "object", 1.0)`.

    Args:
        tokenizer: of the base pipeline; the learned words are added to it.
        path: the released `pytorch_model.bin`.
        config: of the base pipeline's text encoder.

    Raises:
        UserError: the file or a weight is missing, or a weight is unknown or of another shape.
    """

    def __init__(self, tokenizer: Any, path: Path, config: CLIPTextConfig) -> None:
        if not path.is_file():
            raise UserError(path, "no such file", "PowerPaint's text encoder", "fetch the model, or correct the path")
        tokenizer.add_tokens([f"{word}_{number}" for word in _WORDS for number in range(_VECTORS)])
        self._tokenizer = tokenizer
        # Not initialised from the base encoder: the file has all weights.
        self.model = CLIPTextModel(config)
        self.model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        weights = _join_tables(torch.load(path, map_location="cpu", weights_only=True), path)
        load_strictly(self.model, weights, {key: key for key in self.model.state_dict()}, path)
        self.model.eval()

    def move(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the encoder to another device and precision."""
        torch.nn.Module.to(self.model, device, dtype)

    def read(self, text: str, task: str, fitting_degree: float = 1.0, glue: str = " ") -> torch.Tensor:
        """Embeddings `[tokens, dim]`: `fitting_degree` weighs those with the task's first word against the second."""
        first, second = (self._encode(f"{text}{glue}{word}") for word in TASKS[task])
        return fitting_degree * first + (1 - fitting_degree) * second

    def _encode(self, text: str) -> torch.Tensor:
        spelled = re.sub(
            r"P_(ctxt|shape|obj)\b", lambda word: " ".join(f"{word[0]}_{n}" for n in range(_VECTORS)), text
        )
        length = self._tokenizer.model_max_length
        ids = self._tokenizer(spelled, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        reference = next(self.model.parameters())
        embeddings: torch.Tensor = self.model(ids.input_ids.to(reference.device))[0][0]
        return embeddings


def _join_tables(weights: dict[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """The file's weights under the model's names, with one table of words."""
    # transformers 5 has no such prefix; non-strict loading would silently load nothing.
    weights = {key.removeprefix("text_model."): tensor for key, tensor in weights.items()}
    weights.pop("embeddings.position_ids", None)
    tables = [f"{_TABLE}wrapped.weight", *(f"{_TABLE}trainable_embeddings.{word}" for word in _WORDS)]
    if missing := [table for table in tables if table not in weights]:
        raise UserError(
            path, f"no {', '.join(missing)}", "PowerPaint's four tables of words", "take the released file again"
        )
    weights[f"{_TABLE}weight"] = torch.cat([weights.pop(table) for table in tables])
    return weights
