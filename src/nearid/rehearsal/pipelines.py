"""Stand-ins of diffusion models: diffusers' own classes with tiny random weights, in the released folders' layout.

They have the smallest shapes that the pipelines accept (docs/generators.md 2). Settings that change what a pipeline
computes (scaling, schedules, guidance) are those of the released configs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from nearid.distractors.brushnet import BrushNet
from nearid.io.files import write_json

WIDTH = 32
TASK_WORDS = ("P_ctxt", "P_shape", "P_obj")
BYTES = sorted(ByteLevel.alphabet())
_CLIP: dict[str, Any] = dict(
    vocab_size=514, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=77, bos_token_id=512, eos_token_id=513, pad_token_id=513, projection_dim=WIDTH,
)  # fmt: skip
_VAE: dict[str, Any] = dict(
    down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    block_out_channels=[4] * 4, layers_per_block=1, norm_num_groups=1,
)  # fmt: skip
SD15_UNET: dict[str, Any] = dict(
    sample_size=8, in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=(8, 16, 24, 24),
    cross_attention_dim=WIDTH, attention_head_dim=4, norm_num_groups=4,
)  # fmt: skip
_BETAS: dict[str, Any] = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1)
_QWEN: dict[str, Any] = dict(
    patch_size=2, in_channels=64, out_channels=16, attention_head_dim=16, num_attention_heads=2,
    joint_attention_dim=WIDTH, axes_dims_rope=(4, 6, 6),
)  # fmt: skip


def save_flux(folder: Path, canny: bool = False) -> None:
    """FLUX.1-Fill, or FLUX.1-Canny: a pipeline's folder, and the same weights in single files beside it."""
    torch.manual_seed(1)
    vae: Any = diffusers.AutoencoderKL(
        **_VAE, latent_channels=16, use_quant_conv=False, use_post_quant_conv=False,
        scaling_factor=0.3611, shift_factor=0.1159,
    )  # fmt: skip
    transformer: Any = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=128 if canny else 384, out_channels=64, num_layers=1, num_single_layers=1,
        attention_head_dim=16, num_attention_heads=2, joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH,
        guidance_embeds=True, axes_dims_rope=[4, 4, 8],
    )  # fmt: skip
    t5 = T5Config(vocab_size=98, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)] + [(chr(c), -3.0) for c in range(33, 127)]
    # The release of Canny names the pipeline without inpainting; ours uses its components.
    pipeline: Any = diffusers.FluxControlPipeline if canny else diffusers.FluxFillPipeline
    made = pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=vae,
        text_encoder=CLIPTextModel(CLIPTextConfig(**_CLIP)),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=T5EncoderModel(t5),
        tokenizer_2=T5Tokenizer(vocab=words, extra_ids=0, model_max_length=512),
        transformer=transformer,
    )
    _save_pipeline(made, folder, torch.bfloat16)
    name = "canny" if canny else "fill"
    save_file(_state(transformer), folder / f"flux1-{name}-dev.safetensors")
    save_file(_state(vae), folder / "ae.safetensors")


def save_sdxl(folder: Path) -> None:
    """SDXL inpainting, in both precisions of its release."""
    torch.manual_seed(2)
    unet: Any = diffusers.UNet2DConditionModel(
        sample_size=32, in_channels=9, out_channels=4, block_out_channels=(32, 64), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), use_linear_projection=True, transformer_layers_per_block=(1, 2), norm_num_groups=8,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=80,
        cross_attention_dim=2 * WIDTH,
    )  # fmt: skip
    made: Any = diffusers.StableDiffusionXLInpaintPipeline(
        vae=diffusers.AutoencoderKL(**_VAE, latent_channels=4, scaling_factor=0.13025, force_upcast=False),
        text_encoder=CLIPTextModel(CLIPTextConfig(**_CLIP)),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**_CLIP)),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(**_BETAS, timestep_spacing="leading"),
    )
    made.save_pretrained(folder)
    made.to(torch.float16).save_pretrained(folder, variant="fp16")


def save_qwen_image(folder: Path) -> None:
    """Qwen-Image."""
    torch.manual_seed(3)
    tokenizer = Qwen2Tokenizer(vocab={c: i for i, c in enumerate(BYTES)} | {"<|endoftext|>": 256}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    config = Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=300, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, bos_token_id=256, eos_token_id=256, pad_token_id=256, max_position_embeddings=2048,
            rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[2, 2, 4]),
        ),
        vision_config=dict(
            depth=1, hidden_size=WIDTH, intermediate_size=37, num_heads=2, out_hidden_size=WIDTH,
            fullatt_block_indexes=[0],
        ),
        image_token_id=290, video_token_id=291, vision_start_token_id=292, vision_end_token_id=293,
    )  # fmt: skip
    made: Any = diffusers.QwenImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=diffusers.AutoencoderKLQwenImage(base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        text_encoder=Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=tokenizer,
        transformer=diffusers.QwenImageTransformer2DModel(**_QWEN, num_layers=2),
    )
    _save_pipeline(made, folder, torch.bfloat16)


def save_qwen_controlnet(folder: Path) -> None:
    """InstantX's inpainting ControlNet, with an effect: the output layers of an untrained one are zero."""
    torch.manual_seed(4)
    controlnet: Any = diffusers.QwenImageControlNetModel(**_QWEN, num_layers=1, extra_condition_channels=4)
    for layer in (*controlnet.controlnet_blocks, controlnet.controlnet_x_embedder):
        torch.nn.init.normal_(layer.weight, std=0.5)
    controlnet.to(torch.bfloat16).save_pretrained(folder)


def save_qwen_lora(folder: Path, files: list[str]) -> None:
    """Lightning's weights under its key names, in each of `files`."""
    torch.manual_seed(5)
    weights = {}
    for name in ("to_q", "to_v"):
        key = f"transformer_blocks.0.attn.{name}"
        weights[f"{key}.lora_down.weight"] = torch.randn(4, WIDTH)
        weights[f"{key}.lora_up.weight"] = torch.randn(WIDTH, 4)
        weights[f"{key}.alpha"] = torch.tensor(4.0)
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        save_file(weights, folder / file)


def save_powerpaint(folder: Path) -> None:
    """PowerPaint v2: the base pipeline, BrushNet under its released names, the task encoder as a pickle."""
    torch.manual_seed(6)
    unet: Any = diffusers.UNet2DConditionModel(**SD15_UNET)
    text = CLIPTextModel(CLIPTextConfig(**_CLIP))
    base: Any = diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(**_VAE, latent_channels=4, scaling_factor=0.18215),
        text_encoder=text,
        tokenizer=_clip_tokenizer(),
        unet=unet,
        scheduler=diffusers.PNDMScheduler(**_BETAS, skip_prk_steps=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    base.save_pretrained(folder / "realisticVisionV60B1_v51VAE")
    net: Any = BrushNet(unet.config)
    for layer in net.zeros:
        torch.nn.init.normal_(layer.weight, std=0.5)
    weights, brushnet = net.state_dict(), folder / "PowerPaint_Brushnet"
    brushnet.mkdir()
    released = {name: weights[key].contiguous() for name, key in net.released_keys().items()}
    save_file(released, brushnet / "diffusion_pytorch_model.safetensors")
    torch.save(task_weights(text), brushnet / "pytorch_model.bin")
    shapes = {key: value for key, value in unet.config.items() if not key.startswith("_")}
    write_json(brushnet / "config.json", {"_class_name": "BrushNetModel", "conditioning_channels": 5, **shapes})


def save_stable_diffusion(folder: Path) -> None:
    """Stable Diffusion 2.1, from whose layers VSM takes its features."""
    torch.manual_seed(7)
    made: Any = diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(**_VAE, latent_channels=4, scaling_factor=0.18215),
        text_encoder=CLIPTextModel(CLIPTextConfig(**_CLIP)),
        tokenizer=_clip_tokenizer(),
        unet=diffusers.UNet2DConditionModel(**SD15_UNET),
        scheduler=diffusers.DDIMScheduler(**_BETAS, clip_sample=False, prediction_type="v_prediction"),
        safety_checker=None,
        feature_extractor=CLIPImageProcessorPil(),
        requires_safety_checker=False,
    )
    made.save_pretrained(folder)


def task_weights(text: CLIPTextModel) -> dict[str, torch.Tensor]:
    """A text encoder's weights with the learned words, under the released names."""
    weights: dict[str, Any] = {f"text_model.{key}": tensor.clone() for key, tensor in text.state_dict().items()}
    table = "text_model.embeddings.token_embedding"
    weights[f"{table}.wrapped.weight"] = weights.pop(f"{table}.weight")
    for word in TASK_WORDS:
        weights[f"{table}.trainable_embeddings.{word}"] = torch.randn(10, WIDTH)
    weights["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return weights


def _clip_tokenizer() -> CLIPTokenizer:
    symbols = [*BYTES, *(c + "</w>" for c in BYTES), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(symbols)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _save_pipeline(pipeline: Any, folder: Path, precision: torch.dtype) -> None:
    pipeline.to(precision).save_pretrained(folder)


def _state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.contiguous() for key, value in module.state_dict().items()}
