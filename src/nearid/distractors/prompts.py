"""Embeddings of a shard's prompts: computed once, before anything is painted, and kept beside its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from safetensors import safe_open
from safetensors.torch import save_file

from nearid.distractors.protocol import Prompt
from nearid.io.files import replacing
from nearid.io.progress import track
from nearid.io.resume import Parts

_PER_FILE = 16
_SUFFIX = ".safetensors"


class PromptBook:
    """The embeddings of `texts`, made by `encode` where an earlier try has not made them already.

    Several gigabytes for a shard with a large text encoder, so they stay on disk until they are asked for.

    Args:
        texts: prompts, in the order of the shard; repetitions are encoded once.
        encode: gives the embeddings of texts in their order (`nearid.distractors.protocol.BatchEngine.encode`); not
            called when nothing is missing.
        parts: progress of the shard.
    """

    def __init__(self, texts: Sequence[str], encode: Callable[[Iterable[str]], Iterator[Prompt]], parts: Parts) -> None:
        self._texts = list(dict.fromkeys(texts))
        self._place = {text: place for place, text in enumerate(self._texts)}
        self._parts = parts
        finished = set(parts.finished(_SUFFIX))
        starts = range(0, len(self._texts), _PER_FILE)
        missing = [start for start in starts if start not in finished]
        if not missing:
            return
        wanted = [text for start in missing for text in self._texts[start : start + _PER_FILE]]
        prompts = track(encode(wanted), "prompts", total=len(self._texts), done=len(self._texts) - len(wanted))
        for start in missing:
            count = len(self._texts[start : start + _PER_FILE])
            block = [prompt for prompt, _ in zip(prompts, range(count), strict=False)]
            self._write(start, block)
        # Run to its end: that is where the engine frees its encoders.
        assert next(iter(prompts), None) is None

    def __getitem__(self, text: str) -> Prompt:
        place = self._place[text]
        path = self._parts.path(place - place % _PER_FILE, _SUFFIX)
        with safe_open(path, framework="pt") as file:
            prefix = f"{place}."
            return {key.removeprefix(prefix): file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118

    def _write(self, start: int, block: Sequence[Prompt]) -> None:
        tensors = {
            f"{start + at}.{name}": tensor.contiguous()
            for at, prompt in enumerate(block)
            for name, tensor in prompt.items()
        }
        with replacing(self._parts.path(start, _SUFFIX)) as private:
            save_file(tensors, private)
