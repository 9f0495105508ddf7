"""Released sets, each a folder of Parquet files, in the hub's layout or as a local copy."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nearid.errors import UserError
from nearid.io.tables import check_header, check_size


class ReleasedTable:
    """The rows of one split of a released set, in order; images are read with their row.

    Args:
        folder: holds files such as `data/train-00000-of-00012.parquet`, or `train.parquet`.
        split: which split's files are read.

    Raises:
        UserError: no such files, a truncated one, or parts that are missing.
    """

    def __init__(self, folder: Path | str, split: str = "train") -> None:
        self.folder = Path(folder)
        named = re.compile(rf"{split}(-(\d+)-of-(\d+).*)?\.parquet")
        found = {path: match for path in self.folder.rglob("*.parquet") if (match := named.fullmatch(path.name))}
        self._files = sorted(found)
        if not self._files:
            raise UserError(
                self.folder, f"no {split}*.parquet", "a released set in Parquet files", "fetch it, or correct the path"
            )
        wanted = {int(match[3]) for match in found.values() if match[3]}
        if wanted and wanted != {len(found)}:
            raise UserError(
                self.folder,
                f"{len(found)} of {max(wanted)} parts of {split}",
                "all of them, once",
                "fetch the set again",
            )
        self._open = lru_cache(4)(self._open_uncached)
        self._group = lru_cache(2)(self._group_uncached)
        groups = [(path, group, self._rows(path, group)) for path in self._files for group in self._groups(path)]
        self._places = [(path, group) for path, group, _ in groups]
        self._ends = list(accumulate(rows for _, _, rows in groups))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        names: list[str] = self._open(self._files[0]).schema_arrow.names
        return names

    def column(self, name: str) -> list[Any]:
        """One column of all rows; not for images, which would all be read.

        Raises:
            UserError: there is no such column.
        """
        self._need([name])
        found: list[Any] = []
        for path in self._files:
            with _whole(path):
                found += self._open(path).read(columns=[name])[name].to_pylist()
        return found

    def row(self, index: int, columns: Sequence[str]) -> dict[str, Any]:
        """The row at `index`; image columns are `{bytes, path}`.

        Raises:
            UserError: a column is missing.
        """
        self._need(columns)
        group = bisect_right(self._ends, index)
        start = self._ends[group - 1] if group else 0
        return self._group(group, tuple(columns))[index - start]

    def blocks(self, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
        """All rows in order, 64 at a time."""
        self._need(columns)
        for path in self._files:
            batches = self._open(path).iter_batches(batch_size=64, columns=list(columns))
            while True:
                with _whole(path):
                    batch = next(batches, None)
                    rows = None if batch is None else batch.to_pylist()
                if rows is None:
                    break
                yield rows

    def _need(self, columns: Sequence[str]) -> None:
        if missing := sorted(set(columns) - set(self.columns)):
            raise UserError(
                self.folder, f"columns {', '.join(self.columns)}", f"also {', '.join(missing)}", "is it the right set?"
            )

    def _open_uncached(self, path: Path) -> pq.ParquetFile:
        with _whole(path):
            file = pq.ParquetFile(path)
            check_header(path, file)
            check_size(path, file)
            return file

    def _groups(self, path: Path) -> range:
        return range(self._open(path).metadata.num_row_groups)

    def _rows(self, path: Path, group: int) -> int:
        rows: int = self._open(path).metadata.row_group(group).num_rows
        return rows

    def _group_uncached(self, group: int, columns: tuple[str, ...]) -> list[dict[str, Any]]:
        path, number = self._places[group]
        with _whole(path):
            rows: list[dict[str, Any]] = self._open(path).read_row_group(number, columns=list(columns)).to_pylist()
        return rows


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    # A page may be damaged although the header is intact.
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(path, f"not a whole Parquet file ({reason})", "a Parquet file", "fetch it again") from error


def check_alignment(first: ReleasedTable, second: ReleasedTable) -> None:
    """Check that the rows of both sets are the same identities in the same order.

    Raises:
        UserError: they are not; the message says where.
    """
    ours, theirs = first.column("id"), second.column("id")
    if ours == theirs:
        return
    at = next((at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    where = f"row {at}: id {theirs[at]}, not {ours[at]}" if at is not None else "all common rows agree"
    raise UserError(
        second.folder,
        f"{len(theirs)} rows for the {len(ours)} of {first.folder}; {where}",
        "the same ids in the same order",
        "fetch both sets at revisions that belong together",
    )
