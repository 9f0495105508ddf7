"""Tiny models with random weights, saved as a hub repository has them."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
    "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_qwen(folder, mixture=False):
    """Qwen3-VL, dense or mixture of experts, whose answers are noise."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(vocab={token: n for n, token in enumerate(alphabet)}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=SPECIAL[0], pad_token=SPECIAL[0])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    size = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}
    Qwen2VLImageProcessorPil(patch_size=16, temporal_patch_size=2, merge_size=2, size=size).save_pretrained(folder)
    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": len(tokenizer),
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [2, 1, 1]},
    }
    if mixture:
        text |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "out_hidden_size": 32,
        "patch_size": 16,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }
    ids = {
        name: tokenizer.convert_tokens_to_ids(token)
        for name, token in zip(
            ("vision_start_token_id", "vision_end_token_id", "image_token_id"), SPECIAL[3:], strict=True
        )
    }
    config, model = (
        (Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration)
        if mixture
        else (Qwen3VLConfig, Qwen3VLForConditionalGeneration)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = model(config(text_config=text, vision_config=vision, video_token_id=0, **ids))
    made.generation_config.eos_token_id = tokenizer.eos_token_id
    made.generation_config.pad_token_id = tokenizer.pad_token_id
    made.save_pretrained(folder)
    return folder


def save_siglip(folder):
    """A SigLIP vision model of width 16 with an image processor."""
    config = SiglipVisionConfig(
        hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1, image_size=28, patch_size=14
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SiglipVisionModel(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder


def save_encoder(folder, kind):
    """A CLIP, a DINOv2 or a ViT of width 16 with its image processor, and the model itself."""
    width = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    vision = {**width, "image_size": 28, "patch_size": 14}
    crop = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "clip":
            text = {**width, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2}
            projected = {**vision, "projection_dim": 12}
            model = CLIPModel(CLIPConfig(text_config=text, vision_config=projected, projection_dim=12))
            processor = CLIPImageProcessorPil(**crop)
        elif kind == "dinov2":
            model, processor = Dinov2Model(Dinov2Config(**vision)), BitImageProcessorPil(**crop)
        else:
            model = ViTModel(ViTConfig(**vision))
            processor = ViTImageProcessorPil(size={"height": 28, "width": 28})
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor
