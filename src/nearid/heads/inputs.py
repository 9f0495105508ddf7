"""What a head is trained on: collections as one pool, the training identities as samples."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearid.config.mixes import drawn_sources, mixed_collections
from nearid.config.settings.heads import TrainHead
from nearid.config.variants import MASKING, versions
from nearid.errors import UserError
from nearid.heads.feeds import ImagePool, ImageStore, TokenPool, TrainingPool
from nearid.heads.severity import SEVERITY, read_severity
from nearid.heads.tuples import PADDING, SLOTS, Indices, MixSampler, Samples, Tuples, check_training_rows
from nearid.io.files import read_json
from nearid.io.tables import read_table
from nearid.layout import Layout
from nearid.tokens import TokenStore
from nearid.tokens.backbones import Backbone
from nearid.tokens.staging import reading_options

logger = logging.getLogger(__name__)


class TrainingData(NamedTuple):
    """What heads are trained on.

    Args:
        empty: how many distractor slots each source left empty; they train as padding.
        gaps: how many damaged images each collection's shards leave out; they train as padding too.
        left_out: data set -> ids that have fewer than two views because of gaps; they are not trained on.
        held_out: unmasked validation images, a sample per identity and source of the mix; empty without validation.
    """

    pool: TrainingPool
    mix: MixSampler
    empty: dict[str, int]
    gaps: dict[str, int]
    left_out: dict[str, list[int]]
    held_out: Tuples


def open_mix(layout: Layout, settings: TrainHead, backbone: Backbone, with_severity: bool = False) -> TrainingData:
    """Open the token shards, or the images, of an ablation's mix and index its training identities.

    Args:
        layout: where the data and tokens are.
        settings: of the head.
        backbone: whose tokens they are.
        with_severity: compute the severities of part edits from their masks; else all are the same.

    Raises:
        UserError: a held-out identity is among the training rows; tokens or images are missing; tokens of another
            backbone; jitter or affine of cached tokens without `augmented_draws`.
    """
    mix, training = settings.mix, settings.training
    identities = read_table(layout.identities).to_pydict()
    splits = read_json(layout.splits)
    rows, validated = splits["train"], splits["val"] if training.validate_every_steps else []
    check_training_rows(rows, identities)
    shards = sorted({identities["shard"][row] for row in [*rows, *validated]})
    sources = drawn_sources(mix.given)
    wanted = {name: ["000"] if name == "mtg_train" else shards for name in mixed_collections(mix.given)}
    if not wanted:
        raise UserError("mixes", str(dict(mix.given)), "sources and repeats that draw some sample", "correct the mix")
    masking = MASKING if any(training.mask_probability.given.values()) else MASKING[:1]
    cached, augmentation = training.tokens == "cached", training.augmentation.given
    draws = training.augmented_draws or 0
    variants = [versions(each, augmentation, draws) if cached else [each] for each in masking]
    pool = _open_pool(layout, settings, backbone, wanted)
    index = _Index(pool, variants)
    samples: list[Samples] = []
    repeats: list[int] = []
    empty: dict[str, int] = {}
    left_out: dict[str, list[int]] = {}

    def add(part: Samples, count: int) -> None:
        # An identity with a single view, which only gaps can cause, has no positive for its anchor.
        usable = (part.views[..., 0] != PADDING).sum(axis=1) >= 2
        if not usable.all():
            left_out[part.name] = part.ids[~usable].tolist()
        if usable.any():
            samples.append(part.take(usable))
            repeats.append(count)

    held_out = [np.empty((0, 2 * SLOTS), np.int64)]
    if sources:
        ids, views, distractors = index.identities(rows, identities, sources)
        unpainted = ((views[:, None] != PADDING) & (distractors == PADDING))[..., 0].sum(axis=(0, 2))
        empty = dict(zip(sources, unpainted.tolist(), strict=True))
        if validated:
            _, seen, against = _Index(pool, [MASKING[:1]]).identities(validated, identities, sources)
            held_out += [np.hstack([seen[..., 0], against[:, source, :, 0]]) for source in range(against.shape[1])]
        strength = [mix.severities.get(source, SEVERITY) for source in sources]
        severity = np.broadcast_to(np.asarray(strength, np.float32)[None, :, None], distractors.shape[:3])
        add(Samples("nearid", np.asarray(rows), ids, views, distractors, severity), mix.nearid_repeats)
    if mix.mtg_repeats:
        ids = read_table(layout.mtg("train"), ["id"])["id"].to_pylist()
        # Slots 0, 1 are the originals, 2, 3 the same with a part edited.
        images = index.images("mtg_train", ids, [range(4)] * len(ids))
        views, edited = (np.full((len(ids), SLOTS, images.shape[2]), PADDING) for _ in range(2))
        views[:, :2], edited[:, :2] = images[:, :2], images[:, 2:]
        severity = np.full((len(ids), 1, SLOTS), SEVERITY, np.float32)
        if with_severity:
            severity[:, 0, :2] = read_severity(layout.mtg("train"))
        add(Samples("mtg", np.arange(len(ids)), np.asarray(ids), views, edited[:, None], severity), mix.mtg_repeats)
    drawn = MixSampler(
        samples,
        repeats,
        settings.seed,
        training.mask_probability.given,
        augmentation,
        cached,
        training.distractors or "views",
        training.last_batch or "drop",
    )
    gaps = {name: len(store.gaps) for name, store in pool.stores.items() if store.gaps}
    if gaps:
        logger.warning("%s: gaps instead of damaged images %s; left out %s", settings.ablation, gaps, left_out)
    return TrainingData(pool, drawn, empty, gaps, left_out, Tuples.whole(np.concatenate(held_out)))


def _open_pool(
    layout: Layout, settings: TrainHead, backbone: Backbone, wanted: Mapping[str, Sequence[str]]
) -> TrainingPool:
    if settings.training.tokens == "online":
        raw = settings.training.masks == "raw"
        return ImagePool({name: ImageStore(layout, name, shards, raw) for name, shards in wanted.items()}, backbone)
    shards = {name: [layout.tokens(settings.backbone_id, name, shard) for shard in of] for name, of in wanted.items()}
    pool = TokenPool({name: TokenStore(paths, **reading_options()) for name, paths in shards.items()})
    pool.check_backbone(backbone)
    return pool


@dataclass(frozen=True)
class _Index:
    """Finds images in a pool; `variants` are the versions of the whole image and, with masking, of its foreground."""

    pool: TrainingPool
    variants: Sequence[Sequence[str]]

    def images(self, collection: str, ids: Sequence[int], slots: Sequence[Iterable[int]]) -> Indices:
        """Positions [n, slots or 3, 2 versions] of each identity's `slots`, `PADDING` elsewhere and at gaps."""
        store, versions = self.pool.stores[collection], len(self.variants[0])
        width = max([SLOTS, *(1 + max(of, default=0) for of in slots)])
        found = np.full((len(ids), width, 2 * versions), PADDING)
        for place, (id, of) in enumerate(zip(ids, slots, strict=True)):
            for slot in [slot for slot in of if (id, slot) not in store.gaps]:
                for masking, named in enumerate(self.variants):
                    for version, (variant, whole) in enumerate(zip(named, self.variants[0], strict=True)):
                        # An image without a mask has no foreground and stays as it is (docs/protocol.md 3).
                        shown = variant if store.contains(id, slot, variant) else whole
                        found[place, slot, masking * versions + version] = self.pool.find(collection, id, slot, shown)
        return found

    def identities(
        self, rows: Sequence[int], table: Mapping[str, Sequence[Any]], sources: Sequence[str]
    ) -> tuple[NDArray[np.int64], Indices, Indices]:
        """Ids [n], positions of views [n, 3, 2 v] and of distractors [n, sources, 3, 2 v] of identities `rows`."""
        by_row = {row: place for place, row in enumerate(table["row"])}
        places = [by_row[row] for row in rows]
        ids = [table["id"][place] for place in places]
        views = self.views("positives", ids, [table["n_images"][place] for place in places])
        distractors = np.stack([self.distractors(source, ids, views) for source in sources], axis=1)
        return np.asarray(ids), views, distractors

    def views(self, collection: str, ids: Sequence[int], counts: Sequence[int]) -> Indices:
        """Positions [n, 3, 2 v] of the first `counts` slots of each identity, none of which may be missing."""
        if min(counts) < 2:
            identity = ids[counts.index(min(counts))]
            raise UserError(
                f"{collection}, id {identity}", f"{min(counts)} view", "at least 2", "curate the data again"
            )
        return self.images(collection, ids, [range(count) for count in counts])

    def distractors(self, source: str, ids: Sequence[int], views: Indices) -> Indices:
        """Positions [n, 3, 2 v] of one source's distractors.

        A slot without tokens is padding: shards are complete, so the source left it empty. An identity without any
        tokens is an error: a shard is missing or belongs to another data set.
        """
        store = self.pool.stores[source]
        slots = []
        for place, id in enumerate(ids):
            there = [slot for slot in range(SLOTS) if views[place, slot, 0] != PADDING]
            slots.append([slot for slot in there if store.contains(id, slot, self.variants[0][0])] or there[:1])
        return self.images(source, ids, slots)
