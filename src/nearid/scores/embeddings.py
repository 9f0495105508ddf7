"""Unit vectors from tokens, cached or computed: what scorers that only differ in their read-out share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nearid.cluster.devices import choose_device
from nearid.errors import UserError
from nearid.io.hashing import hash_file, hash_json
from nearid.io.progress import track
from nearid.layout import Layout
from nearid.scores.pictures import PictureBook
from nearid.scores.scorers import ImageKey
from nearid.tokens.backbones import Backbone, load_backbone
from nearid.tokens.store import TokenStore, open_tokens

BATCH = 64
Item = TypeVar("Item")


class TokenEmbedder:
    """Embeds images by their tokens; a subclass says how tokens become a vector.

    Tokens are float16 whether they come from the cache or from images, so that both ways give the same vectors up to
    the rounding that the backbone's batches bring (cosines within 1e-3, tested).

    Args:
        settings: of the step: `backbone_id` names the cached tokens, `token_shards` counts them by collection,
            `backbone` computes them, `scorer_id` names the progress line; `tokens: images` computes them anew.
        layout: where the token shards or the images lie.
    """

    def __init__(self, settings: Mapping[str, Any], layout: Layout) -> None:
        self.settings, self.layout = settings, layout
        self.device = choose_device()
        self._book = PictureBook(layout, [settings["split"]] if "split" in settings else [])

    def read_out(self, tokens: Tensor) -> Tensor:
        """From float16 tokens `[batch, tokens, dim]` to embeddings `[batch, width]` of any length."""
        raise NotImplementedError

    @property
    def from_images(self) -> bool:
        """Whether tokens are computed, not read."""
        return self.settings.get("tokens") == "images"

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen model; loaded only where it is needed, since cached tokens need none."""
        return load_backbone(self.settings["backbone"])

    def embed(self, collection: str, images: Sequence[ImageKey]) -> NDArray[np.float32]:
        """Unit vectors `[images, dim]`; NaN for the foreground of an image that has no mask, and for a gap.

        Raises:
            UserError: tokens are missing or damaged, or an embedding is not finite.
        """
        label = f"{self.settings['scorer_id']}: {collection}"
        if self.from_images:
            pairs = [(key, self._book.find(collection, key)) for key in images]
            known = [key.condition == "full" or picture.mask is not None for key, picture in pairs]
            pixels = (picture.pixels(key.condition) for (key, picture), ok in zip(pairs, known, strict=True) if ok)
            return _spread(self._embed_pixels(pixels, _only(images, known), label), known)
        store = self._open(collection)
        # Of MTG some images may have no mask; of the views all have one, so a missing foreground is an error.
        optional = collection.startswith("mtg_")
        maskless = [
            optional and not store.contains(*image[1:]) and store.contains(image.id, image.slot, "full")
            for image in images
        ]
        gaps = [(image.id, image.slot) in store.gaps for image in images]
        if any(gaps):
            print(f"{label}: {sum(gaps)} of {len(images)} images are gaps and give NaN", file=sys.stderr, flush=True)
        known = [not (missing or gap) for missing, gap in zip(maskless, gaps, strict=True)]
        indices = [store.find(*image[1:]) for image, ok in zip(images, known, strict=True) if ok]
        starts = range(0, len(indices), BATCH)
        # Two buffers that are used again, one being read into: fresh pages cost more than the reading.
        buffers = [np.empty((min(BATCH, len(indices)), *store.token_shape), np.float16) for _ in range(2)]

        def read(start: int) -> NDArray[np.float16]:
            return store.read(indices[start : start + BATCH], out=buffers[start // BATCH % 2])

        blocks = _ahead(starts, read)
        vectors = [self._to_unit(torch.from_numpy(block)) for block in track(blocks, label, len(starts))]
        store.close()
        return _spread(self._check(vectors, label, _only(images, known)), known)

    def embed_pixels(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit vectors `[images, dim]` of images [h, w, 3]."""
        return self._embed_pixels(iter(images), range(len(images)), str(self.settings["scorer_id"]))

    def fingerprint(self, collections: Sequence[str], shards: Sequence[str]) -> str:
        """Hash of the token shards' contents; of model and image files where tokens are computed."""
        if self.from_images:
            files = sorted({path for name in collections for shard in shards for path in self._inputs(name, shard)})
            model = [self.backbone.weights_hash, self.backbone.preprocess_hash]
            return hash_json([*model, *(hash_file(path) for path in files)])
        stores = [self._open(collection) for collection in collections]
        return hash_json([store.attributes | {"content": list(store.content_keys.values())} for store in stores])

    def _inputs(self, collection: str, shard: str) -> list[Path]:
        if collection.startswith("mtg_"):
            return [self.layout.mtg(collection.removeprefix("mtg_"))]
        views = self.layout.positives(shard)
        return [views] if collection == "positives" else [views, self.layout.distractors(collection, shard)]

    def _open(self, collection: str) -> TokenStore:
        return open_tokens(self.layout, self.settings, collection)

    def _embed_pixels(
        self, pixels: Iterator[NDArray[np.uint8]], names: Sequence[ImageKey | int], label: str
    ) -> NDArray[np.float32]:
        size, count = self.backbone.batch_size, len(names)
        vectors = []
        for _ in track(range(0, count, size), label, -(-count // size)):
            vectors.append(self._to_unit(self.backbone.tokens(islice(pixels, size)).half()))
        return self._check(vectors, label, names)

    @torch.inference_mode()
    def _to_unit(self, tokens: Tensor) -> Tensor:
        return functional.normalize(self.read_out(tokens.to(self.device)).float(), dim=-1).cpu()

    def _check(self, vectors: list[Tensor], label: str, names: Sequence[ImageKey | int]) -> NDArray[np.float32]:
        embeddings = torch.cat(vectors).numpy() if vectors else np.empty((0, 1), np.float32)
        bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
        if len(bad):
            raise UserError(
                label,
                f"no finite embedding of {len(bad)} of {len(embeddings)} images, first {names[bad[0]]}",
                "a finite vector per image",
                "check that the head's training did not diverge (its log.jsonl), and that head and tokens fit",
            )
        return embeddings


def _only(images: Sequence[ImageKey], known: Sequence[bool]) -> list[ImageKey]:
    return [image for image, ok in zip(images, known, strict=True) if ok]


def _spread(vectors: NDArray[np.float32], known: Sequence[bool]) -> NDArray[np.float32]:
    """Rows of `vectors` where `known`, NaN elsewhere."""
    if all(known):
        return vectors
    spread = np.full((len(known), vectors.shape[1]), np.nan, np.float32)
    spread[np.asarray(known)] = vectors
    return spread


def _ahead(items: Iterable[Item], function: Any) -> Iterator[Any]:
    # The disk reads the next batch while this one is pooled.
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for item in items:
            following = pool.submit(function, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
