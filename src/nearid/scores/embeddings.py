"""Unit vectors from cached tokens: what scorers that only differ in their read-out share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nearid.errors import UserError
from nearid.io.progress import track
from nearid.layout import Layout
from nearid.scores.scorers import ImageKey
from nearid.tokens.store import TokenStore

BATCH = 64


@torch.inference_mode()
def embed_tokens(
    read_out: Callable[[Tensor], Tensor],
    settings: Mapping[str, Any],
    layout: Layout,
    collection: str,
    images: Sequence[ImageKey],
) -> NDArray[np.float32]:
    """Embed `images` of one collection.

    Args:
        read_out: from float32 tokens `[batch, tokens, dim]` to embeddings `[batch, dim]`.
        settings: of the step: `backbone_id` names the tokens, `scorer_id` the progress line.
        layout: where the token shards lie.
        collection: of the images.
        images: what to embed; the condition is the tokens' variant.

    Returns:
        Unit vectors `[images, dim]`.

    Raises:
        UserError: tokens are missing or damaged, or an embedding is not finite.
    """
    label = f"{settings['scorer_id']}: {collection}"
    shards = sorted({image.shard for image in images})
    store = TokenStore([layout.tokens(settings["backbone_id"], collection, shard) for shard in shards])
    indices = [store.find(image.id, image.slot, image.condition) for image in images]
    batches = range(0, len(images), BATCH)
    vectors = [
        functional.normalize(read_out(torch.from_numpy(store.read(indices[start : start + BATCH])).float()), dim=-1)
        for start in track(batches, label, len(batches))
    ]
    store.close()
    embeddings = torch.cat(vectors).numpy()
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(bad):
        raise UserError(
            label,
            f"no finite embedding of {len(bad)} images, first {images[bad[0]]}",
            "a finite vector per image",
            "check that the head's training did not diverge (its log.jsonl), and that head and tokens fit",
        )
    return embeddings
