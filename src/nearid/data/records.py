"""What a data set gives: identities seen in several views, and records that fell out with their reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MAX_VIEWS = 3
"""Image slots per identity in the released set (spec data.md 1.3)."""


@dataclass(frozen=True)
class View:
    """One picture of an identity.

    Attributes:
        image: pixels, uint8 `[h, w, 3]`.
        mask: where the identity is, bool `[h, w]`; None where the data set has none.
        prompt: caption of the scene.
        filename: file (or name) that the view came from.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None
    prompt: str
    filename: str


@dataclass(frozen=True)
class Identity:
    """One object instance and its views.

    Attributes:
        id: key in every file; unique, not the row position.
        name: readable name, unique within the data set.
        class_name: category, by which splits are stratified and donors are chosen.
        description: foreground text (the released `category_description`).
        views: the usable views in slot order.
    """

    id: int
    name: str
    class_name: str
    description: str
    views: tuple[View, ...]


@dataclass(frozen=True)
class Dropped:
    """A view (or, with an empty `view`, a whole identity) that does not enter the positives, and why."""

    name: str
    view: str
    reason: str


class Dataset(Protocol):
    """A kind of data set; `nearid.data.datasets.<kind>.Dataset(options, seed)` makes one."""

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
