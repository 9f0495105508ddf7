"""Embeddings of a shard's prompts: computed once, before anything is painted, and kept with its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from safetensors import safe_open
from safetensors.torch import save_file

from nearid.distractors.protocol import Prompt
from nearid.io.files import replacing
from nearid.io.progress import track
from nearid.io.resume import Parts

_PER_FILE = 16
_SUFFIX = ".safetensors"


class StoredPrompts(Mapping[str, Prompt]):
    """The embeddings of `wanted` texts, computed by `encode` unless they are stored already.

    With a large text encoder they take several gigabytes per shard, so they are read from disk on access, and deleted
    (`clear`) once the images are painted. Blocks of texts are fixed by position in the shard, so that jobs that paint
    parts of it share them, in any order.

    Args:
        texts: prompts of the whole shard, in its order; repetitions are encoded once.
        wanted: those that will be read.
        encode: yields the embeddings of texts in their order (`nearid.distractors.protocol.BaseEngine.encode`); not
            called when nothing is missing.
        parts: progress of the shard.
    """

    def __init__(
        self,
        texts: Sequence[str],
        wanted: Iterable[str],
        encode: Callable[[Iterable[str]], Iterator[Prompt]],
        parts: Parts,
    ) -> None:
        self._texts = list(dict.fromkeys(texts))
        self._place = {text: place for place, text in enumerate(self._texts)}
        self._parts = parts
        self._starts = starts = sorted({self._find_block(text) for text in wanted})
        finished = set(parts.finished(_SUFFIX))
        missing = [start for start in starts if start not in finished]
        if not missing:
            return
        total, asked = (sum(map(len, map(self._block, blocks))) for blocks in (starts, missing))
        prompts = encode(text for start in missing for text in self._block(start))
        prompts = track(prompts, "prompts", total=total, done=total - asked)
        for start in missing:
            # Not zip, which takes one prompt too many from the iterator.
            self._write(start, list(islice(prompts, len(self._block(start)))))
        # Run to its end, where the engine frees its encoders.
        assert next(iter(prompts), None) is None

    def __getitem__(self, text: str) -> Prompt:
        with safe_open(self._parts.path(self._find_block(text), _SUFFIX), framework="pt") as file:
            prefix = f"{self._place[text]}."
            return {key.removeprefix(prefix): file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def clear(self, needed: Iterable[str] = ()) -> None:
        """Delete the blocks of the wanted texts, except those with a `needed` text, which another job may read."""
        kept = {self._find_block(text) for text in needed}
        for start in self._starts:
            if start not in kept:
                self._parts.path(start, _SUFFIX).unlink(missing_ok=True)

    def _find_block(self, text: str) -> int:
        place = self._place[text]
        return place - place % _PER_FILE

    def _block(self, start: int) -> list[str]:
        return self._texts[start : start + _PER_FILE]

    def _write(self, start: int, block: Sequence[Prompt]) -> None:
        tensors = {
            f"{start + at}.{name}": tensor.contiguous()
            for at, prompt in enumerate(block)
            for name, tensor in prompt.items()
        }
        with replacing(self._parts.path(start, _SUFFIX), shared=True) as private:
            save_file(tensors, private)
