"""A judge on this machine: Qwen3-VL, dense or mixture of experts, through transformers."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Generator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from nearid.config.settings.scores import LocalJudge
from nearid.distributed.devices import choose_device
from nearid.errors import UserError
from nearid.io.file_lists import hash_models
from nearid.io.files import read_json
from nearid.io.model_folders import load_pretrained, load_whole
from nearid.scores.judging.prompt import MAX_NEW_TOKENS, choose_prompt
from nearid.scores.judging.room import MOST, WITHOUT_GPU, Room, card_bytes, pair_bytes, weight_bytes
from nearid.scores.scorers import Pair

logger = logging.getLogger(__name__)

TYPES = ("qwen3_vl", "qwen3_vl_moe")
IMAGE_PAD = "<|image_pad|>"


class Judge:
    """Generates greedily, in batches of as many pairs as fit into memory, with left padding.

    Image processor and tokenizer are used separately, and each image's placeholder in the text is expanded here to its
    number of tokens: the model's full processor also needs a video processor, for which we have no use.

    Args:
        scorer: its entry in the config; without `batch_size`, batches are as large as fits
            (`nearid.scores.judging.room`).

    Raises:
        UserError: no such model, or of another type.
    """

    def __init__(self, scorer: LocalJudge) -> None:
        self.prompt = choose_prompt(scorer.prompt)
        self._path = Path(scorer.model)
        self._tokens = scorer.max_new_tokens or MAX_NEW_TOKENS
        self._offload, self._size = scorer.offload or "none", scorer.batch_size
        # A chunk holds as many pairs as the largest batch.
        self.batch_size = self._size or MOST
        try:
            kind = load_pretrained(AutoConfig, self._path, local_files_only=True).model_type
        except (OSError, ValueError) as error:
            raise self._refuse(f"no model ({str(error).strip().splitlines()[0]})") from error
        if kind not in TYPES:
            raise self._refuse(f"model type {kind!r}")
        self.identity = ["local", hash_models(self._path), self._tokens]

    def answer(self, pairs: Sequence[Pair]) -> Generator[tuple[int, str], None, None]:
        """Positions and answers of `pairs`, batch by batch."""
        model, processor, tokenizer = self._parts
        device = choose_device()
        # One image after the other: the processor limits their size, so large ones are never in memory together.
        images = [
            processor(Image.fromarray(shown.picture.pixels(shown.condition)), return_tensors="pt")
            for pair in pairs
            for shown in pair
        ]
        pixels = {name: torch.cat([image[name] for image in images]) for name in ("pixel_values", "image_grid_thw")}
        counts = [int(grid.prod()) // processor.merge_size**2 for grid in pixels["image_grid_thw"]]
        content = self.prompt.content([{"type": "image"}, {"type": "image"}])
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        before, between, after = text.split(IMAGE_PAD)
        texts = [
            before + IMAGE_PAD * first + between + IMAGE_PAD * second + after
            for first, second in zip(counts[::2], counts[1::2], strict=True)
        ]
        lengths = [len(row) for row in tokenizer(texts)["input_ids"]]
        size = self._size or self._room(device).pairs(pair_bytes(model.config, max(lengths), self._tokens))
        # Where the patches of each pair begin.
        starts = [0, *pixels["image_grid_thw"].prod(1).view(-1, 2).sum(1).cumsum(0).tolist()]
        for start in range(0, len(pairs), size):
            end = min(start + size, len(pairs))
            part = {
                "pixel_values": pixels["pixel_values"][starts[start] : starts[end]].to(device, model.dtype),
                "image_grid_thw": pixels["image_grid_thw"][2 * start : 2 * end].to(device),
            }
            yield from enumerate(self._generate(texts[start:end], part, device), start)

    def _generate(self, texts: Sequence[str], pixels: Mapping[str, torch.Tensor], device: torch.device) -> list[str]:
        model, _, tokenizer = self._parts
        batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left").to(device)
        kinds = (batch["input_ids"] == model.config.image_token_id).int()
        with torch.inference_mode():
            generated = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                mm_token_type_ids=kinds,
                **pixels,
                max_new_tokens=self._tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
            )
        answers: list[str] = tokenizer.batch_decode(
            generated[:, batch["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return answers

    def _room(self, device: torch.device) -> Room:
        return Room(card_bytes(device), weight_bytes(self._path), self._offload, self._size or WITHOUT_GPU)

    @cached_property
    def _parts(self) -> tuple[Any, Any, Any]:
        # Loaded for the first pair that is asked: a run whose answers are all kept needs no model.
        device = choose_device()
        cuda = device.type == "cuda"
        flash = cuda and importlib.util.find_spec("flash_attn") is not None
        attention = "FlashAttention-2" if flash else "PyTorch's attention; the paper's was FlashAttention-2"
        logger.info("judge %s: %s", self._path, attention)
        try:
            model = load_whole(
                AutoModelForImageTextToText,
                self._path,
                dtype=torch.bfloat16 if cuda else torch.float32,
                attn_implementation="flash_attention_2" if flash else "sdpa",
                local_files_only=True,
                **self._room(device).placement(device),
            )
            processor = load_pretrained(AutoImageProcessor, self._path, backend="pil", local_files_only=True)
            tokenizer = load_pretrained(AutoTokenizer, self._path, local_files_only=True)
            if not tokenizer.chat_template:
                tokenizer.chat_template = self._read_template()
        except torch.OutOfMemoryError:
            raise  # the GPU is too small, whatever the folder holds
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise self._refuse(f"no model to load ({str(error).strip().splitlines()[0]})") from error
        model = model.eval().requires_grad_(False)
        return model, processor, tokenizer

    def _read_template(self) -> str:
        # Some releases have it in a file of the processor, which the tokenizer does not read.
        path = self._path / "chat_template.json"
        if not path.is_file():
            raise self._refuse("no chat template, neither in tokenizer_config.json nor in a file of its own")
        return str(read_json(path)["chat_template"])

    def _refuse(self, found: str) -> UserError:
        return UserError(
            f"judge {self._path}",
            found,
            "a Qwen3-VL folder with weights, tokenizer and preprocessor_config.json",
            "correct `model`; any other judge can be asked behind an `endpoint`",
        )
