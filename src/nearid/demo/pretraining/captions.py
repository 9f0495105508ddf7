"""Captions of the stream and the small tokenizer that reads them."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from nearid.demo.pretraining.stream import NO_SCENE
from nearid.demo.renderer.instances import CATEGORY_NAMES
from nearid.demo.renderer.scenes import SCENE_NAMES

CAPTION_LENGTH = 8


def write_caption(category: int, scene: int) -> str:
    """E.g. "a mug in the kitchen"; "a mug alone" without a scene."""
    place = "alone" if scene == NO_SCENE else f"in the {SCENE_NAMES[scene]}"
    return f"a {CATEGORY_NAMES[category]} {place}"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of the captions' words."""
    phrases = ["a in the alone", *CATEGORY_NAMES, *SCENE_NAMES]
    words = sorted({word for phrase in phrases for word in phrase.split()})
    vocabulary = {word: index for index, word in enumerate(["<pad>", "</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=CAPTION_LENGTH,
    )
