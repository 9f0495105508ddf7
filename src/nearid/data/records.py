"""What a data set yields: identities seen in several views, and dropped records with their reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

MAX_VIEWS = 3
"""Image slots per identity in the released set (docs/protocol.md 1.3)."""


@dataclass(frozen=True)
class View:
    """One picture of an identity.

    Attributes:
        image: pixels, uint8 `[h, w, 3]`.
        mask: where the identity is, bool `[h, w]`, or grey as released (above 0 is object, cleaning takes the grey
            values into account); None where the data set has none.
        prompt: caption of the scene.
        raw_mask: the mask as the data set has it, where `mask` has been cleaned.
        filename: file (or name) that the view came from.
        position: its place in the released record, by which `Identity.scores` finds it.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | NDArray[np.uint8] | None
    prompt: str
    filename: str
    position: int = 0
    raw_mask: NDArray[np.uint8] | NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Scores:
    """SynCD's own scores of a record, by the views' positions."""

    aesthetics: Sequence[float | None]
    dino: Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Identity:
    """One object instance and its views.

    Attributes:
        id: key in every file; unique, not the row position.
        name: readable name, unique within the data set.
        class_name: category, by which splits are stratified and donors are chosen.
        description: foreground text (the released `category_description`).
        views: the usable views in slot order.
        scores: of the release, where it has some.
        released: more columns of the positives as they were released (`objaverse_id`, `quality`, `split`, …).
        fixed_slots: distractors exist already for these slots, so that no view may move up when another falls out.
    """

    id: int
    name: str
    class_name: str
    description: str
    views: tuple[View, ...]
    scores: Scores | None = None
    released: Mapping[str, Any] = field(default_factory=dict)
    fixed_slots: bool = False


STEPS = ("rigid", "asset id", "foreground text", "SynCD scores", "usable views", "unique asset and text")
"""The steps of the curation at which identities fall out, in order; a data set of ours knows the last two only."""
RIGID, ASSET, TEXT, SCORES, USABLE, UNIQUE = STEPS


@dataclass(frozen=True)
class Dropped:
    """A view (or, with an empty `view`, a whole identity) that does not enter the positives, why, and at which step."""

    name: str
    view: str
    reason: str
    step: str = USABLE


class Dataset(Protocol):
    """A kind of data set; `nearid.data.datasets.<kind>.Dataset(options, seed)` makes one.

    Its options are the block of its kind in `nearid.config.schema.dataset`; those of a kind of your own are attributes
    too, of `nearid.config.settings.data.OwnData`.
    """

    def names(self) -> list[str]:
        """Names of all identities, in order.

        Raises:
            UserError: two of them share a name or an id.
        """
        ...

    def fingerprint(self) -> str:
        """What the identities depend on beyond options and seed (files on disk, say); empty where there is nothing.

        A finished part of a killed run is used again only where this is the same.
        """
        ...

    def load(self, index: int) -> tuple[Identity | None, list[Dropped]]:
        """The identity at `index`, None where nothing of it is usable; runs in worker processes."""
        ...
