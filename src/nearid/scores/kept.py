"""What scoring keeps besides the declared results: vectors until the scores are written, and scores by source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearid.io.files import replacing
from nearid.io.resume import Parts, clear
from nearid.io.tables import read_table, write_table


class KeptVectors:
    """The vectors for one scores file, in parts in the order of use, each a file until the scores are written.

    Args:
        output: the scores file.
        key: hash of all that the vectors depend on; empty keeps nothing.
    """

    def __init__(self, output: Path, key: str) -> None:
        self._folder = output.parent / ".progress" / output.stem
        self._parts = Parts(self._folder, key) if key else None
        self._count = 0

    def take(self) -> NDArray[np.float32] | None:
        """The next part if an earlier run has left it; else None, and it must be `put`."""
        number, self._count = self._count, self._count + 1
        path = self._parts.path(number, ".npy") if self._parts else None
        return np.load(path) if path and path.exists() else None

    def put(self, vectors: NDArray[np.float32]) -> None:
        """Keep the part that `take` did not find."""
        if self._parts is not None:
            with replacing(self._parts.path(self._count - 1, ".npy")) as private, private.open("wb") as stream:
                np.save(stream, vectors)

    def clear(self) -> None:
        """Remove all parts, also those of a stopped run; call it once the scores are written."""
        clear(self._folder)


class KeptSources:
    """The scores of each source, kept beside a scores file, so that after a new source only that one is scored.

    A benchmark without sources is one part.

    Args:
        output: the scores file.
        keys: source -> hash of all that its scores depend on; empty keeps nothing.
        schema: of the columns kept.
    """

    def __init__(self, output: Path, keys: Mapping[str, str], schema: pa.Schema) -> None:
        self._folder = output.parent / ".kept" / output.stem
        self._keys, self._schema = keys, schema

    @property
    def parts(self) -> Sequence[str]:
        """The sources, in order."""
        return list(self._keys)

    def has(self, source: str) -> bool:
        """Whether its scores are kept under the same key."""
        return bool(self._keys[source]) and self._path(source).is_file()

    def get(self, source: str) -> pa.Table:
        """Its scores."""
        return read_table(self._path(source), self._schema.names)

    def put(self, source: str, columns: Mapping[str, Any]) -> None:
        """Keep its scores in place of older ones."""
        if self._keys[source]:
            for stale in self._folder.glob(f"{source}.*.parquet"):
                stale.unlink()
            write_table(self._path(source), columns, self._schema)

    def _path(self, source: str) -> Path:
        return self._folder / f"{source}.{self._keys[source][:16]}.parquet"
