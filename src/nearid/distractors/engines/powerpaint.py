"""PowerPaint v2: Stable Diffusion 1.5 (Realistic Vision) with BrushNet and learned task words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from nearid.distractors.brushnet import brushed, load_brushnet
from nearid.distractors.diffusion import DiffusionEngine, InpaintingBatch, find_folder
from nearid.distractors.protocol import Prompt
from nearid.distractors.task_tokens import TaskEncoder
from nearid.io.model_folders import load_pretrained

if TYPE_CHECKING:
    from nearid.config.schema.sources import Powerpaint

_BASE = "realisticVisionV60B1_v51VAE"
_BRUSHNET = "PowerPaint_Brushnet/diffusion_pytorch_model.safetensors"
_TASK_ENCODER = "PowerPaint_Brushnet/pytorch_model.bin"


class Engine(DiffusionEngine):
    """`StableDiffusionPipeline` with our BrushNet (paper: short side 640, 45 UniPC steps, guidance 7.5, P_obj).

    `model` is the released folder; `task` is object, shape or context; `fitting_degree` mixes shape's two words.
    `words`, `mask_pixel` and `safety_checker` choose between readings of the public code (docs/decisions.md).
    """

    options: Powerpaint
    pipeline: ClassVar[str] = "StableDiffusionPipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "tokenizer")
    painters: ClassVar[tuple[str, ...]] = ("unet", "vae", "safety_checker", "feature_extractor")
    multiple: ClassVar[int] = 8
    short_side: ClassVar[bool] = True

    def load(self, without: Iterable[str]) -> Any:
        """The base pipeline, with BrushNet (`brushnet`) for painting, or the task encoder (`tasks`) for encoding."""
        folder = find_folder(self.options.model)
        absent = dict.fromkeys(without)
        if self.options.safety_checker is False:
            absent |= {"safety_checker": None, "feature_extractor": None}
        pipe = self.open(str(folder / _BASE), **absent)
        if "unet" in absent:
            pipe.tasks = self._load_tasks(pipe, folder)
        else:
            net = load_brushnet(folder / _BRUSHNET, pipe.unet.config)
            pipe.brushnet = net.to(self.device, self.dtype).eval()
        return pipe

    def _load_tasks(self, pipe: Any, folder: Path) -> TaskEncoder:
        # A tokenizer of its own: the learned words must not reach the base encoder.
        tokenizer = load_pretrained(type(pipe.tokenizer), folder / _BASE, subfolder="tokenizer")
        tasks = TaskEncoder(tokenizer, folder / _TASK_ENCODER, pipe.text_encoder.config)
        tasks.move(self.device, self.dtype)
        return tasks

    def embed(self, pipe: Any, text: str) -> Prompt:
        """Embeddings by the base encoder for the UNet, and by the task encoder, with the task word, for BrushNet."""
        against = self.options.negative_prompt or ""
        plain, negative = pipe.encode_prompt(text, pipe.device, 1, True, negative_prompt=against)[:2]
        degree = self.options.fitting_degree
        how = (self.options.task or "object", 1.0 if degree is None else degree)
        prompted = self.options.words == "prompt"
        return {
            "plain": plain[0],
            "negative": negative[0],
            "task": pipe.tasks.read(text if prompted else "", *how),
            # PowerPaint's app joins these without a blank.
            "negative_task": pipe.tasks.read(against if prompted else "", *how, glue=""),
        }

    def call(self, pipe: Any, batch: InpaintingBatch) -> Any:
        """Paint, with BrushNet's residuals at every step."""
        states = [batch.embeddings(name, pipe.unet) for name in ("negative_task", "task")]
        scale = self.options.conditioning_scale
        condition = _condition(pipe, batch, self.options.mask_pixel or "corner")
        with brushed(pipe.unet, pipe.brushnet, condition, torch.cat(states), 1.0 if scale is None else scale):
            return pipe(
                prompt_embeds=batch.embeddings("plain", pipe.unet),
                negative_prompt_embeds=batch.embeddings("negative", pipe.unet),
                height=batch.height,
                width=batch.width,
                num_inference_steps=self.options.steps,
                guidance_scale=self.options.guidance,
                generator=batch.generators,
                output_type="np",
            )


def _condition(pipe: Any, batch: InpaintingBatch, mask_pixel: str) -> torch.Tensor:
    """Latents of the views with black holes, and a mask that is 1 on the background, `[n, 5, h, w]`."""
    views, holes = (np.stack([np.asarray(image) for image in images]) for images in (batch.images, batch.holes))
    views = np.where(holes[..., None] > 0, 0, views)
    pixels = torch.from_numpy(views).permute(0, 3, 1, 2).to(pipe.device, pipe.vae.dtype) / 127.5 - 1
    # The mode, to be reproducible: the reference samples here with the global generator.
    latents = pipe.vae.encode(pixels).latent_dist.mode() * pipe.vae.config.scaling_factor
    height, width = latents.shape[-2:]
    if mask_pixel == "corner":
        small = functional.interpolate(torch.from_numpy(holes)[:, None].float(), size=(height, width))
    else:
        centres = [np.asarray(hole.resize((width, height), Image.Resampling.NEAREST)) for hole in batch.holes]
        small = torch.from_numpy(np.stack(centres))[:, None]
    background = (small == 0).to(latents)
    return torch.cat([latents, background], dim=1)
