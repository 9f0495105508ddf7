"""What a head trains on: token collections as one pool, the training identities as samples, batches ahead of need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from nearid.errors import UserError
from nearid.heads.severity import SEVERITY, read_severity
from nearid.heads.tuples import PADDING, SLOTS, VARIANTS, Indices, Mix, Samples, Tuples, check_training_rows
from nearid.io.files import read_json
from nearid.io.tables import read_table
from nearid.layout import Layout
from nearid.tokens import TokenStore


class TokenPool:
    """Several collections of one backbone's tokens under one numbering.

    Args:
        stores: collection -> its tokens.

    Raises:
        UserError: the collections come from different backbones.
    """

    def __init__(self, stores: Mapping[str, TokenStore]) -> None:
        self.stores = dict(stores)
        self._starts = np.cumsum([0, *(len(store) for store in self.stores.values())])
        first, *others = self.stores.values()
        self.token_shape = first.token_shape
        for store in others:
            if (store.attributes, store.token_shape) != (first.attributes, first.token_shape):
                raise UserError(
                    store.paths[0],
                    f"{store.attributes}, tokens {store.token_shape}",
                    f"{first.attributes}, tokens {first.token_shape}, as in {first.paths[0]}",
                    "extract both collections with the same backbone",
                )

    def find(self, collection: str, id: int, slot: int, variant: str) -> int:
        """Position of an image's tokens in the pool.

        Raises:
            UserError: there are none; names collection, id and slot.
        """
        return int(self._starts[list(self.stores).index(collection)]) + self.stores[collection].find(id, slot, variant)

    def name(self, position: int) -> str:
        """`collection/id/slot/variant` of a position in the pool, for messages."""
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        collection = list(self.stores)[number]
        id, slot, variant = self.stores[collection].keys[position - self._starts[number]]
        return f"{collection}/{id}/{slot}/{variant.decode()}"

    def content_keys(self) -> dict[Path, str]:
        """Content key of each shard."""
        paths = [path for store in self.stores.values() for path in store.paths]
        return {path: _attribute(path, "content_key") for path in paths}

    def check_backbone(self, weights_hash: str) -> None:
        """Check that the tokens come from the backbone whose own head is the start.

        Raises:
            UserError: they do not.
        """
        store = next(iter(self.stores.values()))
        if store.attributes["weights_hash"] != weights_hash:
            raise UserError(
                store.paths[0],
                f"tokens of weights {store.attributes['weights_hash']}",
                f"{weights_hash}, as the backbone has now",
                "extract the tokens again (`extract_tokens`)",
            )

    def read(self, positions: Indices, out: NDArray[np.float16]) -> NDArray[np.float16]:
        """Tokens [n, tokens, dim] of ascending `positions`, read into the first n of `out`."""
        edges = np.searchsorted(positions, self._starts)
        for store, start, low, high in zip(self.stores.values(), self._starts, edges, edges[1:], strict=False):
            if high > low:
                store.read(positions[low:high] - start, out=out[low:high])
        return out[: len(positions)]


def _attribute(path: Path, name: str) -> str:
    with h5py.File(path, "r", locking=False) as shard:
        return str(shard.attrs[name])


@dataclass(frozen=True)
class Batch:
    """The tokens of one step.

    Args:
        tuples: the samples; `tuples.images` are positions in the pool.
        tokens: [images, tokens, dim] float16, each image once; a buffer that the next batch but one overwrites.
        slots: [n, 6] position of each slot's image in `tokens`; 0 for padding.
    """

    tuples: Tuples
    tokens: NDArray[np.float16]
    slots: Indices


def load_batches(pool: TokenPool, batches: Iterable[Tuples], capacity: int) -> Iterator[Batch]:
    """Batches of at most `capacity` samples, the next one read by a thread while the caller works on this one."""
    shape = (capacity * 2 * SLOTS, *pool.token_shape)
    # Two buffers in turn: large fresh blocks would cost page faults at every step.
    buffers = [np.empty(shape, np.float16), np.empty(shape, np.float16)]

    def load(tuples: Tuples, buffer: NDArray[np.float16]) -> Batch:
        images, inverse = np.unique(tuples.images, return_inverse=True)
        padded = int(images[0] == PADDING)
        slots = np.maximum(inverse.reshape(tuples.images.shape) - padded, 0)
        return Batch(tuples, pool.read(images[padded:], buffer), slots)

    with ThreadPoolExecutor(1) as reader:
        coming = None
        for number, tuples in enumerate(batches):
            ready, coming = coming, reader.submit(load, tuples, buffers[number % 2])
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


class Source(NamedTuple):
    """What heads train on.

    Args:
        empty: how many distractor slots each source left empty; they train as padding.
    """

    pool: TokenPool
    mix: Mix
    empty: dict[str, int]


def open_mix(layout: Layout, settings: Mapping[str, Any], with_severity: bool = False) -> Source:
    """Open the token shards of an ablation's mix and index its training identities.

    Args:
        layout: where the data and tokens lie.
        settings: of the step `train_head`.
        with_severity: read the severities of part edits off their masks; else they are all alike.

    Raises:
        UserError: a held-out identity among the training rows; tokens that should be there are not.
    """
    mix, training = settings["mix"], settings["training"]
    identities = read_table(layout.identities).to_pydict()
    rows = read_json(layout.splits)["train"]
    check_training_rows(rows, identities)
    shards = sorted({identities["shard"][row] for row in rows})
    wanted: dict[str, list[str]] = {}
    nearid_repeats = mix["nearid_repeats"] if mix["sources"] else 0
    if nearid_repeats:
        wanted |= {collection: shards for collection in ["positives", *mix["sources"]]}
    if mix["mtg_repeats"]:
        wanted |= {"mtg_train": ["000"]}
    if not wanted:
        raise UserError("mixes", str(dict(mix)), "sources and repeats that draw some sample", "mend the mix")
    stores = {
        collection: TokenStore([layout.tokens(settings["backbone_id"], collection, shard) for shard in of])
        for collection, of in wanted.items()
    }
    pool = TokenPool(stores)
    variants = VARIANTS if any(training["mask_probability"].values()) else VARIANTS[:1]
    index = _Index(pool, variants)
    samples, repeats, empty = [], [], {}
    if nearid_repeats:
        by_row = {row: place for place, row in enumerate(identities["row"])}
        places = [by_row[row] for row in rows]
        ids = [identities["id"][place] for place in places]
        views = index.views("positives", ids, [identities["n_images"][place] for place in places])
        painted = {source: index.distractors(source, ids, views) for source in mix["sources"]}
        empty = {s: int(((views != PADDING) & (images == PADDING))[..., 0].sum()) for s, images in painted.items()}
        distractors = np.stack(list(painted.values()), axis=1)
        strength = [mix["severities"].get(source, SEVERITY) for source in mix["sources"]]
        severity = np.broadcast_to(np.asarray(strength, np.float32)[None, :, None], distractors.shape[:3])
        samples.append(Samples("nearid", np.asarray(rows), np.asarray(ids), views, distractors, severity))
        repeats.append(nearid_repeats)
    if mix["mtg_repeats"]:
        ids = read_table(layout.mtg("train"), ["id"])["id"].to_pylist()
        # Slots 0, 1 are the originals, 2, 3 the same with a part edited.
        images = index.images("mtg_train", ids, [range(4)] * len(ids))
        views, edited = (np.full((len(ids), SLOTS, 2), PADDING) for _ in range(2))
        views[:, :2], edited[:, :2] = images[:, :2], images[:, 2:]
        severity = np.full((len(ids), 1, SLOTS), SEVERITY, np.float32)
        if with_severity:
            severity[:, 0, :2] = read_severity(layout.mtg("train"))
        samples.append(Samples("mtg", np.arange(len(ids)), np.asarray(ids), views, edited[:, None], severity))
        repeats.append(mix["mtg_repeats"])
    return Source(pool, Mix(samples, repeats, settings["seed"], training["mask_probability"]), empty)


@dataclass(frozen=True)
class _Index:
    pool: TokenPool
    variants: Sequence[str]

    def images(self, collection: str, ids: Sequence[int], slots: Sequence[Iterable[int]]) -> Indices:
        """[n, max(slots) + 1 or 3, 2] positions of the named slots, `PADDING` elsewhere."""
        width = max([SLOTS, *(1 + max(of, default=0) for of in slots)])
        found = np.full((len(ids), width, 2), PADDING)
        for place, (id, of) in enumerate(zip(ids, slots, strict=True)):
            for slot in of:
                for number, variant in enumerate(self.variants):
                    # An image without a mask has no foreground and stays as it is (spec data.md 3).
                    there = variant == "full" or self.pool.stores[collection].contains(id, slot, variant)
                    found[place, slot, number] = self.pool.find(collection, id, slot, variant if there else "full")
        return found

    def views(self, collection: str, ids: Sequence[int], counts: Sequence[int]) -> Indices:
        """Positions [n, 3, 2] of the first `counts` slots of each identity; each must be there."""
        if min(counts) < 2:
            identity = ids[counts.index(min(counts))]
            raise UserError(
                f"{collection}, id {identity}", f"{min(counts)} view", "at least 2", "curate the data again"
            )
        return self.images(collection, ids, [range(count) for count in counts])

    def distractors(self, source: str, ids: Sequence[int], views: Indices) -> Indices:
        """Positions [n, 3, 2] of one source's distractors.

        A slot that the source left empty is padding: shards are complete, so no tokens means no image. An identity
        without any is a missing shard or another data set, and an error.
        """
        store = self.pool.stores[source]
        slots = []
        for place, id in enumerate(ids):
            there = [slot for slot in range(SLOTS) if views[place, slot, 0] != PADDING]
            slots.append([slot for slot in there if store.contains(id, slot, "full")] or there[:1])
        return self.images(source, ids, slots)
