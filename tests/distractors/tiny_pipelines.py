"""The real pipeline classes with tiny random weights, in the layout of the released folders (spec generators.md 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

_BYTES = sorted(ByteLevel.alphabet())
_CLIP = dict(
    vocab_size=514, hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=77, bos_token_id=512, eos_token_id=513, pad_token_id=513, projection_dim=32,
)  # fmt: skip
_VAE = dict(
    down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    block_out_channels=[4] * 4, layers_per_block=1, norm_num_groups=1,
)  # fmt: skip
SD15_UNET = dict(
    sample_size=8, in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=(8, 16, 24, 24),
    cross_attention_dim=32, attention_head_dim=4, norm_num_groups=4,
)  # fmt: skip
_BETAS = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1)


def save_flux(folder: Path, canny: bool = False) -> None:
    """FLUX.1-Fill, or FLUX.1-Canny."""
    torch.manual_seed(1)
    vae = diffusers.AutoencoderKL(
        **_VAE, latent_channels=16, use_quant_conv=False, use_post_quant_conv=False,
        scaling_factor=0.3611, shift_factor=0.1159,
    )  # fmt: skip
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=128 if canny else 384, out_channels=64, num_layers=1, num_single_layers=1,
        attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
        guidance_embeds=True, axes_dims_rope=[4, 4, 8],
    )  # fmt: skip
    t5 = T5Config(vocab_size=98, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)] + [(chr(c), -3.0) for c in range(33, 127)]
    pipeline = diffusers.FluxControlInpaintPipeline if canny else diffusers.FluxFillPipeline
    pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=vae,
        text_encoder=CLIPTextModel(CLIPTextConfig(**_CLIP)),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=T5EncoderModel(t5),
        tokenizer_2=T5TokenizerFast(vocab=words, extra_ids=0, model_max_length=512),
        transformer=transformer,
    ).save_pretrained(folder)


def save_sdxl(folder: Path) -> None:
    """SDXL inpainting."""
    torch.manual_seed(2)
    unet = diffusers.UNet2DConditionModel(
        sample_size=32, in_channels=9, out_channels=4, block_out_channels=(32, 64), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), use_linear_projection=True, transformer_layers_per_block=(1, 2), norm_num_groups=8,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=80,
        cross_attention_dim=64,
    )  # fmt: skip
    diffusers.StableDiffusionXLInpaintPipeline(
        vae=diffusers.AutoencoderKL(**_VAE, latent_channels=4, scaling_factor=0.13025, force_upcast=False),
        text_encoder=CLIPTextModel(CLIPTextConfig(**_CLIP)),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**_CLIP)),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(**_BETAS, timestep_spacing="leading"),
    ).save_pretrained(folder)


def save_qwen(folder: Path) -> None:
    """Three folders: `base`, `controlnet`, and `lora` with Lightning's key names."""
    torch.manual_seed(3)
    common = dict(
        patch_size=2, in_channels=64, out_channels=16, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    transformer = diffusers.QwenImageTransformer2DModel(**common, num_layers=2)
    controlnet = diffusers.QwenImageControlNetModel(**common, num_layers=1, extra_condition_channels=4)
    for conv in (*controlnet.controlnet_blocks, controlnet.controlnet_x_embedder):
        torch.nn.init.normal_(conv.weight, std=0.5)  # zero at birth: no effect to see
    controlnet.save_pretrained(folder / "controlnet")
    vocabulary = {c: i for i, c in enumerate(_BYTES)} | {"<|endoftext|>": 256}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    config = Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=300, hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, bos_token_id=256, eos_token_id=256, pad_token_id=256, max_position_embeddings=2048,
            rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[2, 2, 4]),
        ),
        vision_config=dict(
            depth=1, hidden_size=32, intermediate_size=37, num_heads=2, out_hidden_size=32, fullatt_block_indexes=[0]
        ),
        image_token_id=290, video_token_id=291, vision_start_token_id=292, vision_end_token_id=293,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLQwenImage(base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    diffusers.QwenImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder / "base")
    lora = {}
    for name in ("to_q", "to_v"):
        key = f"transformer_blocks.0.attn.{name}"
        lora[f"{key}.lora_down.weight"] = torch.randn(4, 32)
        lora[f"{key}.lora_up.weight"] = torch.randn(32, 4)
        lora[f"{key}.alpha"] = torch.tensor(4.0)
    (folder / "lora").mkdir()
    save_file(lora, folder / "lora/lightning.safetensors")


def save_powerpaint(folder: Path) -> None:
    """PowerPaint v2's folder: base pipeline, BrushNet under its released names, task encoder as a pickle."""
    from nearid.distractors.brushnet import BrushNet

    torch.manual_seed(4)
    unet = diffusers.UNet2DConditionModel(**SD15_UNET)
    text = CLIPTextModel(CLIPTextConfig(**_CLIP))
    base = diffusers.StableDiffusionPipeline(
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
    net = BrushNet(unet.config)
    for conv in net.zeros:
        torch.nn.init.normal_(conv.weight, std=0.5)
    weights = net.state_dict()
    (folder / "PowerPaint_Brushnet").mkdir()
    released = {name: weights[key].contiguous() for name, key in net.released_keys().items()}
    save_file(released, folder / "PowerPaint_Brushnet/diffusion_pytorch_model.safetensors")
    torch.save(task_weights(text), folder / "PowerPaint_Brushnet/pytorch_model.bin")


def task_weights(text: CLIPTextModel) -> dict[str, torch.Tensor]:
    """A text encoder's weights with the learned words, named as released."""
    weights: dict[str, Any] = {f"text_model.{key}": tensor.clone() for key, tensor in text.state_dict().items()}
    table = "text_model.embeddings.token_embedding"
    weights[f"{table}.wrapped.weight"] = weights.pop(f"{table}.weight")
    for word in ("P_ctxt", "P_shape", "P_obj"):
        weights[f"{table}.trainable_embeddings.{word}"] = torch.randn(10, 32)
    weights["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return weights


def _clip_tokenizer() -> CLIPTokenizer:
    symbols = [*_BYTES, *(c + "</w>" for c in _BYTES), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(symbols)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def save_all(root: Path) -> dict[str, dict[str, Any]]:
    """All models below `root`; source id -> settings of the source, tiny in size and steps."""
    save_flux(root / "fill")
    save_flux(root / "canny", canny=True)
    save_sdxl(root / "sdxl")
    save_qwen(root / "qwen")
    save_powerpaint(root / "powerpaint")
    fill = {"model": str(root / "fill"), "steps": 2, "guidance": 30.0, "max_sequence_length": 32}
    canny = {**fill, "model": str(root / "canny"), "guidance": 7.0, "strength": 0.99, "canny": [50, 200]}
    sdxl = {"model": str(root / "sdxl"), "steps": 2, "guidance": 8.0, "strength": 0.99, "negative_prompt": "text"}
    qwen = {"model": str(root / "qwen/base"), "controlnet": str(root / "qwen/controlnet"), "steps": 2, "guidance": 1.0}
    qwen |= {"lora": str(root / "qwen/lora"), "lora_file": "lightning.safetensors"}
    powerpaint = {"model": str(root / "powerpaint"), "steps": 2, "guidance": 7.5, "conditioning_scale": 1.0}
    engines = {
        "flux": ("flux_fill", 32, fill),
        "flux_1024": ("flux_fill", 64, fill),
        "fluxc": ("flux_canny", 32, canny),
        "fluxc_1024": ("flux_canny", 64, canny),
        "qwen": ("qwen_controlnet", 32, qwen),
        "qwen_1328": ("qwen_controlnet", 64, qwen),
        "sdxl": ("sdxl_inpaint", 32, sdxl),
        "sdxl_1024": ("sdxl_inpaint", 64, sdxl),
        "powerpaint": ("powerpaint", 40, powerpaint),
    }
    common = {"dilate_px": 2, "paste_back": True, "feather_px": 0, "blur_sigma": 0.0}
    return {
        name: {**common, "engine": engine, "working_px": px, "options": {**options, "precision": "float32"}}
        for name, (engine, px, options) in engines.items()
    }
