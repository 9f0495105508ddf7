"""Vectors that a stopped scoring run has made already, kept outside the declared results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearid.io.files import replacing
from nearid.io.resume import Parts


class KeptVectors:
    """The parts of one scores file in the order in which they are asked for, each a file until the scores stand.

    Args:
        output: the scores file.
        key: hash of all that the vectors depend on; empty keeps nothing.
    """

    def __init__(self, output: Path, key: str) -> None:
        self._parts = Parts(output.parent / ".progress" / output.stem, key) if key else None
        self._count = 0

    def get(self, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """The next part: from an earlier try, or made now and kept."""
        number, self._count = self._count, self._count + 1
        if self._parts is None:
            return make()
        path = self._parts.path(number, ".npy")
        if path.exists():
            vectors: NDArray[np.float32] = np.load(path)
            return vectors
        vectors = make()
        with replacing(path) as private, private.open("wb") as stream:
            np.save(stream, vectors)
        return vectors

    def clear(self) -> None:
        """Remove all parts; call it once the scores stand."""
        if self._parts is not None:
            self._parts.clear()
