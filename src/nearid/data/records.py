"""What a data set yields: identities with several views each, and dropped records with the reason."""

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
        mask: of the object, bool `[h, w]`, or grey as released (above 0 is object; cleaning uses the grey values);
            None if the data set has none.
        prompt: caption of the scene.
        raw_mask: the data set's own mask, before cleaning.
        filename: file (or name) that the view came from.
        position: its index in the released record and in `Identity.scores`.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | NDArray[np.uint8] | None
    prompt: str
    filename: str
    position: int = 0
    raw_mask: NDArray[np.uint8] | NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Scores:
    """SynCD's own scores of a record, indexed by `View.position`."""

    aesthetics: Sequence[float | None]
    dino: Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Identity:
    """One object instance and its views.

    Attributes:
        id: key in every file; unique, not the row position.
        name: readable name, unique within the data set.
        class_name: category; splits are stratified by it, and donors are of the same one.
        description: foreground text (the released `category_description`).
        views: the usable views in slot order.
        scores: those of the release, if it has any.
        released: further columns of the positives, with the released values (`objaverse_id`, `quality`, `split`, …).
        fixed_slots: distractors for these slots exist already, so no view may move to the slot of a dropped one.
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
"""The curation steps that may drop identities, in order; all but the last two exist for SynCD only."""
RIGID, ASSET, TEXT, SCORES, USABLE, UNIQUE = STEPS


@dataclass(frozen=True)
class Dropped:
    """A view, or a whole identity (empty `view`), that is left out of the positives: why, and at which step."""

    name: str
    view: str
    reason: str
    step: str = USABLE


class Dataset(Protocol):
    """A kind of data set; `nearid.data.datasets.<kind>.Dataset(options, seed)` makes one.

    Its options are those of its kind in `nearid.config.schema.dataset`; a kind of your own gets a
    `nearid.config.settings.data.OwnData`, with its options as attributes.
    """

    def names(self) -> list[str]:
        """Names of all identities, in order.

        Raises:
            UserError: two identities share a name or an id.
        """
        ...

    def fingerprint(self) -> str:
        """Hash of what the identities depend on besides options and seed, such as files; empty if there is nothing.

        A resumed run reuses finished parts only if it is unchanged.
        """
        ...

    def load(self, index: int) -> tuple[Identity | None, list[Dropped]]:
        """The identity at `index`, None if it is unusable, and what was dropped; runs in worker processes."""
        ...
