"""Qwen-Image with an inpainting ControlNet and few-step Lightning weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import diffusers
import torch

from nearid.distractors.diffusion import DiffusionEngine, InpaintingBatch, load
from nearid.distractors.protocol import Prompt
from nearid.errors import UserError

if TYPE_CHECKING:
    from nearid.config.schema.sources import QwenControlnet

# The schedule that the Lightning weights were distilled with (their model card; docs/generators.md 1).
_LIGHTNING = {
    "base_image_seq_len": 256,
    "base_shift": math.log(3),
    "max_image_seq_len": 8192,
    "max_shift": math.log(3),
    "shift": 1.0,
    "shift_terminal": None,
    "time_shift_type": "exponential",
    "use_dynamic_shifting": True,
}


class Engine(DiffusionEngine):
    """`QwenImageControlNetInpaintPipeline` (paper: 8 Lightning steps, flow-match Euler, true guidance 1).

    `lora` is a folder or hub id of adapter weights, fused into the transformer; `lora_file` is the file in it.
    """

    options: QwenControlnet
    pipeline: ClassVar[str] = "QwenImageControlNetInpaintPipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "tokenizer")
    painters: ClassVar[tuple[str, ...]] = ("transformer", "vae", "controlnet")
    required: ClassVar[set[str]] = {"controlnet"}
    multiple: ClassVar[int] = 16
    schedule: ClassVar[dict[str, Any]] = _LIGHTNING

    def load(self, without: Iterable[str]) -> Any:
        """The pipeline of the base model; for painting, with ControlNet and adapter."""
        components: dict[str, Any] = dict.fromkeys(without)
        paints = "transformer" not in components
        if paints:
            components["controlnet"] = load(diffusers.QwenImageControlNetModel, self.options.controlnet, self.dtype)
        pipe = self.open(self.options.model, **components)
        if paints and self.options.lora is not None:
            self._fuse_lora(pipe)
        return pipe

    def _fuse_lora(self, pipe: Any) -> None:
        try:
            pipe.load_lora_weights(self.options.lora, weight_name=self.options.lora_file)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                self.options.lora, str(error).splitlines()[0], "adapter weights", "correct `lora` or `lora_file`"
            ) from error
        pipe.fuse_lora(lora_scale=1.0)
        pipe.unload_lora_weights()

    def embed(self, pipe: Any, text: str) -> Prompt:
        """Unpadded token embeddings `[t, d]` of the multimodal encoder, also of the negative prompt if any."""
        prompt = {"tokens": pipe.encode_prompt(text)[0][0]}
        if self.options.negative_prompt is not None:
            prompt["negative"] = pipe.encode_prompt(self.options.negative_prompt)[0][0]
        return prompt

    def call(self, pipe: Any, batch: InpaintingBatch) -> Any:
        """Paint; guidance above 1 takes the negative prompt into account."""
        tokens, mask = _pad([prompt["tokens"] for prompt in batch.prompts], pipe.transformer)
        inputs = {"prompt_embeds": tokens, "prompt_embeds_mask": mask}
        if self.options.negative_prompt is not None:
            tokens, mask = _pad([prompt["negative"] for prompt in batch.prompts], pipe.transformer)
            inputs |= {"negative_prompt_embeds": tokens, "negative_prompt_embeds_mask": mask}
        scale = self.options.conditioning_scale
        with _without_draws(pipe.vae):
            return pipe(
                **inputs,
                control_image=batch.images,
                control_mask=batch.holes,
                height=batch.height,
                width=batch.width,
                num_inference_steps=self.options.steps,
                true_cfg_scale=self.options.guidance,
                controlnet_conditioning_scale=1.0 if scale is None else scale,
                generator=batch.generators,
                output_type="np",
            )


def _pad(tokens: list[torch.Tensor], like: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of texts of different lengths, padded to `[n, t, d]`, and their attention mask `[n, t]`."""
    reference = next(like.parameters())
    padded = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
    lengths = torch.tensor([len(each) for each in tokens])
    mask = torch.arange(padded.shape[1])[None] < lengths[:, None]
    return padded.to(reference.device, reference.dtype), mask.long().to(reference.device)


@contextmanager
def _without_draws(vae: Any) -> Iterator[None]:
    """While active, the pipeline gets the mode of the masked view's latents, not a sample by the global generator."""
    own = vae.encode

    def encode(*arguments: Any, **named: Any) -> Any:
        output = own(*arguments, **named)
        output.latent_dist.sample = lambda *_, **__: output.latent_dist.mode()
        return output

    vae.encode = encode
    try:
        yield
    finally:
        del vae.encode
