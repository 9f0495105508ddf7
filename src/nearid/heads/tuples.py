"""Training tuples: which images make a sample in which epoch (docs/protocol.md 3, docs/losses.md 1).

A sample has six slots: anchor, two positives, three distractors; distractor k is painted on the background of view k
*after* the anchor shuffle. Every draw is a function of (seed, epoch, data set, row, purpose, slot), so that batch
size, order, workers and resume change nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from nearid.config.variants import is_drawn
from nearid.errors import UserError
from nearid.io.randomness import keyed_rng
from nearid.tokens.augmentation import DRAWS, draw

SLOTS = 3
PADDING = -1
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Tuples:
    """Samples of one epoch or batch.

    Args:
        images: [n, 6] positions in the token pool: anchor, positives, distractors; `PADDING` is an empty slot.
        picks: [n] the one positive of the symmetric InfoNCE rows, an index into the positives.
        ids: [n] identity ids, for messages.
        owners: [n] a number per data set and identity, the same in all repeats of a sample.
        severity: [n, 3] how much of its object each distractor changed, for the oracle objectives.
        augmentation: [n, 6, 9] the augmentation still to be applied to each image (`nearid.tokens.augmentation`);
            [n, 6, 0] if there is none.
    """

    images: Indices
    picks: Indices
    ids: Indices
    owners: Indices
    severity: NDArray[np.float32]
    augmentation: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | Indices) -> Tuples:
        return Tuples(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def whole(cls, images: Indices) -> Tuples:
        """Tuples of unaugmented `images` [n, 6], for evaluation."""
        count = len(images)
        none = np.zeros(count, np.int64)
        return cls(
            images, none, none, none, np.zeros((count, SLOTS), np.float32), np.zeros((*images.shape, 0), np.float32)
        )

    @property
    def valid(self) -> NDArray[np.bool_]:
        """[n, 6], False for padding."""
        return self.images != PADDING


@dataclass(frozen=True)
class Samples:
    """The images of one data set's training identities.

    Args:
        name: keys its randomness.
        rows: [n] position of each identity in its data set; keys its randomness.
        ids: [n] identity ids.
        views: [n, 3, 2 v] positions of each view's variants, `PADDING` where there is none: v of the whole image, then
            of its foreground. v is 1, or how many augmented versions are cached (`nearid.config.variants.versions`).
        distractors: [n, sources, 3, 2 v] likewise; a source without a distractor for a slot has `PADDING`.
        severity: [n, sources, 3] of the distractors.
    """

    name: str
    rows: Indices
    ids: Indices
    views: Indices
    distractors: Indices
    severity: NDArray[np.float32]

    def take(self, rows: NDArray[np.bool_]) -> Samples:
        """The samples where `rows` [n] is True; their draws stay the same."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)[1:]})

    def draw(
        self,
        seed: int,
        epoch: int,
        mask_probability: Mapping[str, float],
        augmentation: Mapping[str, float],
        cached: bool = False,
        backgrounds: str = "views",
    ) -> Tuples:
        """The samples of one epoch: anchor shuffle, a source per original slot, role masking, augmentation, a pick.

        Args:
            seed: head seed.
            epoch: from 0.
            mask_probability: of the foreground variant, per role `anchor`, `positive`, `distractor`.
            augmentation: probability of each kind (`nearid.tokens.augmentation.CHANCES`).
            cached: choose among cached versions, instead of returning augmentation parameters. Mirrored versions are
                chosen by the same random numbers.
            backgrounds: which views' backgrounds the distractors have: `training.distractors` of the config.
        """
        count = len(self.rows)
        each, slots = np.arange(count)[:, None], np.arange(SLOTS)

        def uniform(purpose: str) -> NDArray[np.float64]:
            # One table per purpose over all rows of the data set, so that an entry depends on its row and slot only.
            table = keyed_rng("tuples", seed, epoch, self.name, purpose)
            return table.random((int(self.rows.max()) + 1, SLOTS))[self.rows]

        there = self.views[:, :, 0] != PADDING
        order = np.argsort(np.where(there, uniform("anchor"), 2.0), axis=1, kind="stable")
        source = (uniform("source") * self.distractors.shape[1]).astype(np.int64)
        views = self.views[each, order]
        if backgrounds == "anchor_sources":
            # A different source for each distractor slot: the first three of a random order of the sources.
            sources = self.distractors.shape[1]
            ranks = keyed_rng("tuples", seed, epoch, self.name, "sources").random((int(self.rows.max()) + 1, sources))
            chosen = np.argsort(ranks[self.rows], axis=1)[:, :SLOTS]
            anchor = order[:, :1]
            distractors = np.full((count, SLOTS, self.views.shape[2]), PADDING)
            severity = np.zeros((count, SLOTS), np.float32)
            distractors[:, : chosen.shape[1]] = self.distractors[each, chosen, anchor]
            severity[:, : chosen.shape[1]] = self.severity[each, chosen, anchor]
        else:
            distractors = self.distractors[each, source, slots][each, order]
            severity = self.severity[each, source, slots][each, order]
        if backgrounds == "anchor_only":
            distractors = np.where(slots[None, :, None] == 0, distractors, PADDING)

        by_role = [mask_probability[role] for role in ("anchor", "positive", "positive")]
        masked_view = (uniform("mask_view") < by_role).astype(np.int64)
        masked_distractor = (uniform("mask_distractor") < mask_probability["distractor"]).astype(np.int64)
        masked = np.concatenate([masked_view, masked_distractor], axis=1)
        changes, version = np.zeros((*masked.shape, 0), np.float32), np.zeros_like(masked)
        kept = self.views.shape[2] // 2
        if cached and any(augmentation.values()) and is_drawn(augmentation):
            roles = [uniform(f"augmented_draw_{role}") for role in ("view", "distractor")]
            version = (np.concatenate(roles, axis=1) * kept).astype(np.int64)
        elif any(augmentation.values()):
            drawn = [
                [uniform(f"augment_{role}_{number}") for role in ("view", "distractor")] for number in range(DRAWS)
            ]
            changes = draw(np.stack([np.concatenate(pair, axis=1) for pair in drawn], axis=-1), augmentation)
            if cached:
                changes, version = changes[..., :0], changes[..., 0].astype(np.int64)
        both = np.concatenate([views, distractors], axis=1)
        images = both[each, np.arange(2 * SLOTS), masked * kept + version]
        positives = there.sum(axis=1) - 1
        picks = (uniform("pick")[:, 0] * positives).astype(np.int64)
        owners = (np.int64(zlib.crc32(self.name.encode())) << 31) + self.rows
        return Tuples(images, picks, self.ids, owners, severity, changes)


@dataclass(frozen=True)
class MixSampler:
    """Data sets with their repeats, concatenated and shuffled anew each epoch.

    Repeats of a sample get identical draws within an epoch (docs/protocol.md 3).
    """

    samples: Sequence[Samples]
    repeats: Sequence[int]
    seed: int
    mask_probability: Mapping[str, float]
    augmentation: Mapping[str, float] = field(default_factory=dict)
    cached: bool = False
    backgrounds: str = "views"
    last_batch: str = "drop"

    def __len__(self) -> int:
        return sum(len(part.rows) * repeats for part, repeats in zip(self.samples, self.repeats, strict=True))

    def epoch(self, epoch: int) -> Tuples:
        """All tuples of `epoch`, in its own order."""
        how = (self.mask_probability, self.augmentation, self.cached, self.backgrounds)
        drawn = [
            tuples
            for part, repeats in zip(self.samples, self.repeats, strict=True)
            for tuples in [part.draw(self.seed, epoch, *how)] * repeats
        ]
        order = keyed_rng("mix", self.seed, epoch).permutation(len(self))
        columns = [[getattr(tuples, field.name) for tuples in drawn] for field in fields(Tuples)]
        return Tuples(*(np.concatenate(column)[order] for column in columns))

    def steps_per_epoch(self, batch_size: int) -> int:
        """Number of batches of an epoch, with the last, partial one if it is kept.

        Raises:
            UserError: there is not even one.
        """
        steps = len(self) // batch_size + int(self.last_batch == "keep" and len(self) % batch_size > 0)
        if steps == 0:
            raise UserError(
                "training.batch_size",
                f"{batch_size}, with {len(self)} samples in the mix",
                "at most one epoch's samples",
                "lower the batch size or raise the repeats of the mix",
            )
        return steps


def check_training_rows(rows: Sequence[int], identities: Mapping[str, Sequence]) -> None:
    """Check that no validation or test identity is among the training rows.

    Args:
        rows: the training rows of `splits.json`.
        identities: columns `row`, `id`, `split` of the identities' table.

    Raises:
        UserError: a row belongs to another split or does not exist, or an id is in both training and a held-out split.
    """
    known = dict(zip(identities["row"], zip(identities["id"], identities["split"], strict=True), strict=True))
    training = {known[row][0] for row in rows if row in known}
    held_out = {known[row][0] for row in known if known[row][1] != "train"}
    for row in rows:
        identity, split = known.get(row, (None, "no split"))
        if split != "train" or identity in held_out:
            raise UserError(
                f"data/splits.json, training row {row}, id {identity}",
                f"an identity of {split if split != 'train' else 'training and of a held-out split'}",
                "training identities only, none of them held out under another row",
                "make the splits and the identities' table again (`curate_positives`)",
            )
    if not training:
        raise UserError("data/splits.json", "no training identity", "at least one", "make the held-out splits smaller")
