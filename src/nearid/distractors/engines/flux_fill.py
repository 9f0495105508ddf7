"""FLUX.1-Fill: the hole is filled from the foreground text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nearid.distractors.diffusion import DiffusionEngine, InpaintingBatch
from nearid.distractors.protocol import Prompt

if TYPE_CHECKING:
    from nearid.config.schema.sources import FluxFill


class Engine(DiffusionEngine):
    """`FluxFillPipeline` (paper: 50 steps, guidance 30; docs/generators.md 1)."""

    options: FluxFill
    pipeline: ClassVar[str] = "FluxFillPipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    painters: ClassVar[tuple[str, ...]] = ("transformer", "vae")
    multiple: ClassVar[int] = 16

    def embed(self, pipe: Any, text: str) -> Prompt:
        """T5's tokens and CLIP's pooled output."""
        tokens, pooled, _ = pipe.encode_prompt(text, None, max_sequence_length=self.options.max_sequence_length or 512)
        return {"tokens": tokens[0], "pooled": pooled[0]}

    def call(self, pipe: Any, batch: InpaintingBatch) -> Any:
        """Paint; the view outside the hole conditions every step."""
        return pipe(**self.inputs(pipe, batch))

    def inputs(self, pipe: Any, batch: InpaintingBatch) -> dict[str, Any]:
        """Arguments that FLUX's inpainting pipelines share."""
        return {
            "prompt_embeds": batch.embeddings("tokens", pipe.transformer),
            "pooled_prompt_embeds": batch.embeddings("pooled", pipe.transformer),
            "image": batch.images,
            "mask_image": batch.holes,
            "height": batch.height,
            "width": batch.width,
            "num_inference_steps": self.options.steps,
            "guidance_scale": self.options.guidance,
            "generator": batch.generators,
            "output_type": "np",
        }
