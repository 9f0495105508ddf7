"""Stand-ins of judges: Qwen3-VL's own classes, with weights that answer in the requested form, by the pictures."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from nearid.rehearsal.encoders import name_processor

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ANSWER = '{"match_cues": ["stripes"], "conflict_cues": [], "background_used": false, "confidence": "low", "score": '
DIGITS = [str(digit) for digit in range(10)]
WIDTH, SEEN = 64, 16
SHARD_BYTES = "100KB"


def save_words(path: Path) -> None:
    """Write a judge's question."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("Do both images show one and the same object?\nAnswer in JSON with its score, 0 to 10.\n")


def save_judge(folder: Path, mixture: bool, seed: int) -> None:
    """A Qwen3-VL, dense or `mixture` of experts, in shards; `seed` decides which pictures get which score.

    The language model's weights are zero except for those that make this answer: after the prompt's last newline, a
    token for the whole answer up to the score; then a digit, chosen by the mean of what the first layer's attention
    gets from all earlier tokens, pictures included; then the closing brace, then the end.
    """
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    size = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}
    Qwen2VLImageProcessorPil(patch_size=16, temporal_patch_size=2, merge_size=2, size=size).save_pretrained(folder)
    name_processor(folder)
    torch.manual_seed(seed)
    model = _model(tokenizer, mixture)
    _wire(model, tokenizer)
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = tokenizer.eos_token_id
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size=SHARD_BYTES)


def _tokenizer() -> Any:
    """A tokenizer of bytes, the special tokens, and the answer as one token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(alphabet)}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=SPECIAL[0], pad_token=SPECIAL[0])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    tokenizer.add_tokens([ANSWER])
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _model(tokenizer: Any, mixture: bool) -> Any:
    text: dict[str, Any] = {
        "hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": len(tokenizer),
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [4, 2, 2]},
    }  # fmt: skip
    if mixture:
        text |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": WIDTH,
        "patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id")
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(SPECIAL[3:]), strict=True))
    shared = {"text_config": text, "vision_config": vision, "video_token_id": 0, "tie_word_embeddings": False, **ids}
    if mixture:
        return Qwen3VLMoeForConditionalGeneration(Qwen3VLMoeConfig(**shared))
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(**shared))


@torch.no_grad()
def _wire(model: Any, tokenizer: Any) -> None:
    """Set which token follows which (newline, answer, digit, brace, end), each by one feature of the embedding."""
    language, head = model.model.language_model, model.lm_head.weight
    newline, answer, brace, *digits = tokenizer.convert_tokens_to_ids(["Ċ", ANSWER, "}", *DIGITS])
    for name, parameter in language.named_parameters():
        if "norm" not in name:
            parameter.zero_()
    chain = ([newline], [answer], digits, [brace], [tokenizer.eos_token_id])
    head.zero_()
    for feature, (before, after) in enumerate(pairwise(chain)):
        language.embed_tokens.weight[before, feature] = 1
        head[after, feature] = 1000
    # Even attention over all tokens adds what pictures look like, in features that no word uses.
    first = language.layers[0].self_attn
    for feature in range(SEEN):
        first.v_proj.weight[feature, WIDTH - SEEN + feature] = 1
        first.o_proj.weight[WIDTH - SEEN + feature, feature] = 300
    head[digits, WIDTH - SEEN :] = torch.randn(len(digits), SEEN)
