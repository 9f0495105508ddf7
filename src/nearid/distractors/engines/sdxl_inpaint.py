"""SDXL's inpainting model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nearid.distractors.diffusion import DiffusionEngine, InpaintingBatch
from nearid.distractors.protocol import Prompt

if TYPE_CHECKING:
    from nearid.config.schema.sources import SdxlInpaint

_EMBEDDINGS = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")


class Engine(DiffusionEngine):
    """`StableDiffusionXLInpaintPipeline` (paper: 30 steps, guidance 8, strength .99, a negative prompt)."""

    options: SdxlInpaint
    pipeline: ClassVar[str] = "StableDiffusionXLInpaintPipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    painters: ClassVar[tuple[str, ...]] = ("unet", "vae")
    required: ClassVar[set[str]] = {"strength"}
    multiple: ClassVar[int] = 8

    def embed(self, pipe: Any, text: str) -> Prompt:
        """Both encoders' tokens and the second one's pooled output, with those of the negative prompt."""
        values = pipe.encode_prompt(
            text, negative_prompt=self.options.negative_prompt or "", do_classifier_free_guidance=True
        )
        return {name: value[0] for name, value in zip(_EMBEDDINGS, values, strict=True)}

    def call(self, pipe: Any, batch: InpaintingBatch) -> Any:
        """Paint."""
        return pipe(
            **{name: batch.embeddings(name, pipe.unet) for name in _EMBEDDINGS},
            image=batch.images,
            mask_image=batch.holes,
            height=batch.height,
            width=batch.width,
            num_inference_steps=self.options.steps,
            guidance_scale=self.options.guidance,
            strength=self.options.strength,
            generator=batch.generators,
            output_type="np",
        )
