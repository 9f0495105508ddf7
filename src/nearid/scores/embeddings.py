"""Unit vectors from tokens, cached or computed: what scorers share that differ only in their read-out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nearid.distributed.devices import choose_device
from nearid.errors import UserError
from nearid.io.ahead import threads_ahead
from nearid.io.hashing import hash_file, hash_json
from nearid.io.progress import track
from nearid.layout import Layout
from nearid.scores.pictures import StoredImages
from nearid.scores.scorers import ImageKey
from nearid.tokens.backbones import Backbone, load_backbone
from nearid.tokens.collections import files_of
from nearid.tokens.store import TokenStore, open_tokens

if TYPE_CHECKING:
    # Imported only to compute: a job whose scores are there already ends without loading PyTorch.
    import torch
    from torch import Tensor

    from nearid.config.settings.scores import Score

logger = logging.getLogger(__name__)

BATCH = 64
Item = TypeVar("Item")
Vectors = NDArray[np.float32]


class TokenEmbedder:
    """Embeds images by their tokens; a subclass defines how tokens become a vector.

    Tokens are float16 whether they come from the cache or from images, so that both give the same vectors up to
    rounding in the backbone's batches (cosines within 1e-3, tested).

    Args:
        settings: of the step.
        layout: where the token shards or the images are.
    """

    def __init__(self, settings: Score, layout: Layout) -> None:
        assert settings.backbone is not None
        self.settings, self.layout = settings, layout
        self.backbone_settings = settings.backbone
        self.book = StoredImages.of(settings, layout)
        self._origins: dict[str, str] = {}

    @cached_property
    def device(self) -> torch.device:
        """Where tokens are pooled."""
        return choose_device()

    def read_out(self, tokens: Tensor) -> Tensor:
        """Embeddings `[batch, width]`, not normalised, of float16 tokens `[batch, tokens, dim]`."""
        raise NotImplementedError

    @property
    def from_images(self) -> bool:
        """Whether tokens are computed from images, not read."""
        return self.settings.tokens == "images"

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen model; loaded on first use, since cached tokens may not need it."""
        return load_backbone(self.backbone_settings)

    def open_store(self, collection: str) -> TokenStore:
        """The cached tokens of a collection."""
        backbone, shards = self.settings.backbone_id, self.settings.token_shards
        assert backbone is not None and shards is not None
        return open_tokens(self.layout, backbone, collection, shards[collection])

    def check_store(self, store: TokenStore) -> None:
        """Raise UserError for tokens that this embedder must not read; subclasses decide, by default it reads any."""

    def embed(self, collection: str, images: Sequence[ImageKey]) -> Vectors:
        """Unit vectors `[images, dim]`; NaN for the foreground of an image that has no mask, and for a gap.

        Raises:
            UserError: tokens are missing or damaged, or an embedding is not finite.
        """
        return _only_one(embed_each([self], collection, images))

    def embed_pixels(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Unit vectors `[images, dim]` of images [h, w, 3]."""
        return _only_one(embed_pixels_each([self], images))

    def fingerprint(self, collections: Sequence[str], shards: Sequence[str]) -> str:
        """Hash of the token shards' contents, or of model and image files if tokens are computed."""
        if self.from_images:
            read = {path for name in collections for shard in shards for path in files_of(self.layout, name, shard)}
            return hash_json([self._origin("", self._describe_model), *(hash_file(path) for path in sorted(read))])
        return hash_json([self._origin(name, partial(self._describe_tokens, name)) for name in collections])

    def share_origins(self, other: TokenEmbedder) -> None:
        """Hash the tokens or the model that both of these read only once."""
        self._origins = other._origins

    def _origin(self, name: str, describe: Callable[[], Any]) -> str:
        if name not in self._origins:
            self._origins[name] = hash_json(describe())
        return self._origins[name]

    def _describe_tokens(self, collection: str) -> Any:
        store = self.open_store(collection)
        return store.attributes | {"content": list(store.content_keys.values())}

    def _describe_model(self) -> list[str]:
        """Hashes of a folder's files, without loading the model; for one from the hub's cache, of the loaded model."""
        folder = Path(self.backbone_settings.path)
        files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")]) if folder.is_dir() else []
        if files:
            return [text for path in files for text in (path.name, hash_file(path))]
        return [self.backbone.weights_hash, self.backbone.preprocess_hash]

    def to_unit(self, tokens: Tensor) -> Tensor:
        """Unit vectors `[batch, dim]` on the CPU."""
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            return functional.normalize(self.read_out(tokens.to(self.device)).float(), dim=-1).cpu()


def embed_each(
    embedders: Sequence[TokenEmbedder], collection: str, images: Sequence[ImageKey]
) -> list[Vectors | UserError]:
    """What each embedder's `embed` returns, or the error that it raises; tokens are read or computed once for all.

    Args:
        embedders: of the same tokens; at least one.

    Raises:
        UserError: tokens are missing or damaged.
    """
    first, label = embedders[0], _label(embedders, collection)
    if first.from_images:
        pairs = [(key, first.book.find(collection, key)) for key in images]
        known = [key.condition == "full" or picture.mask is not None for key, picture in pairs]
        pixels = (picture.pixels(key.condition) for (key, picture), ok in zip(pairs, known, strict=True) if ok)
        names = _only(images, known)
        found = _pool(embedders, _compute(first, pixels, len(names), label), names)
        return [_spread(own, known) if isinstance(own, np.ndarray) else own for own in found]
    import torch

    store = first.open_store(collection)
    # In MTG an image may have no mask; views all have one, so a missing foreground there is an error.
    optional = collection.startswith("mtg_")
    maskless = [
        optional and not store.contains(*image[1:]) and store.contains(image.id, image.slot, "full") for image in images
    ]
    gaps = [(image.id, image.slot) in store.gaps for image in images]
    if any(gaps):
        logger.warning("%s: %d of %d images are gaps and give NaN", label, sum(gaps), len(images))
    known = [not (missing or gap) for missing, gap in zip(maskless, gaps, strict=True)]
    indices = [store.find(*image[1:]) for image, ok in zip(images, known, strict=True) if ok]
    starts = range(0, len(indices), BATCH)
    # Two buffers, reused in turn: new pages would cost more than the reading.
    buffers = [np.empty((min(BATCH, len(indices)), *store.token_shape), np.float16) for _ in range(2)]

    def read(start: int) -> NDArray[np.float16]:
        return store.read(indices[start : start + BATCH], out=buffers[start // BATCH % 2])

    blocks = (torch.from_numpy(block) for block in track(_ahead(starts, read), label, len(starts)))
    found = _pool(embedders, blocks, _only(images, known), lambda embedder: embedder.check_store(store))
    store.close()
    return [_spread(own, known) if isinstance(own, np.ndarray) else own for own in found]


def embed_pixels_each(
    embedders: Sequence[TokenEmbedder], images: Sequence[NDArray[np.uint8]]
) -> list[Vectors | UserError]:
    """What each embedder's `embed_pixels` returns, or the error that it raises; tokens are computed once for all."""
    label = _label(embedders, "")
    return _pool(embedders, _compute(embedders[0], iter(images), len(images), label), range(len(images)))


def _compute(embedder: TokenEmbedder, pixels: Iterator[NDArray[np.uint8]], count: int, label: str) -> Iterator[Tensor]:
    """Float16 tokens of `count` images [h, w, 3], in the batches of the backbone."""
    backbone = embedder.backbone
    size = backbone.batch_size
    for _ in track(range(0, count, size), label, -(-count // size)):
        yield backbone.tokens(islice(pixels, size)).half()


def _pool(
    embedders: Sequence[TokenEmbedder],
    blocks: Iterable[Tensor],
    names: Sequence[ImageKey | int],
    check: Callable[[TokenEmbedder], None] = lambda embedder: None,
) -> list[Vectors | UserError]:
    """Each embedder's vectors of all blocks, or its error; one that fails gets no further blocks."""
    made: list[list[Tensor]] = [[] for _ in embedders]
    failed: dict[int, UserError] = {}
    for place, embedder in enumerate(embedders):
        try:
            check(embedder)
        except UserError as error:
            failed[place] = error
    for block in blocks:
        for place, embedder in enumerate(embedders):
            if place not in failed:
                try:
                    made[place].append(embedder.to_unit(block))
                except UserError as error:
                    failed[place] = error
        if len(failed) == len(embedders):
            break
    return [
        failed[place] if place in failed else _check(made[place], str(embedder.settings.scorer_id), names)
        for place, embedder in enumerate(embedders)
    ]


def _check(vectors: list[Tensor], label: str, names: Sequence[ImageKey | int]) -> Vectors | UserError:
    """All rows as one array, or an error that names the first one that is not finite."""
    embeddings = np.concatenate([part.numpy() for part in vectors]) if vectors else np.empty((0, 1), np.float32)
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if not len(bad):
        return embeddings
    return UserError(
        label,
        f"no finite embedding of {len(bad)} of {len(embeddings)} images, first {names[bad[0]]}",
        "a finite vector per image",
        "check that the head's training did not diverge (its log.jsonl), and that head and tokens fit",
    )


def _label(embedders: Sequence[TokenEmbedder], collection: str) -> str:
    who = str(embedders[0].settings.scorer_id) if len(embedders) == 1 else f"{len(embedders)} scorers"
    return f"{who}: {collection}" if collection else who


def _only_one(found: Sequence[Vectors | UserError]) -> Vectors:
    (only,) = found
    if isinstance(only, UserError):
        raise only
    return only


def _only(images: Sequence[ImageKey], known: Sequence[bool]) -> list[ImageKey]:
    return [image for image, ok in zip(images, known, strict=True) if ok]


def _spread(vectors: Vectors, known: Sequence[bool]) -> Vectors:
    """Rows of `vectors` where `known`, NaN elsewhere."""
    if all(known):
        return vectors
    spread = np.full((len(known), vectors.shape[1]), np.nan, np.float32)
    spread[np.asarray(known)] = vectors
    return spread


def _ahead(items: Iterable[Item], function: Any) -> Iterator[Any]:
    # The disk reads the next batch while this one is pooled.
    with threads_ahead(1) as pool:
        waiting = None
        for item in items:
            following = pool.submit(function, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
