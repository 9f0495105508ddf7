"""Parquet tables that `datasets` reads too: images are {bytes, path} structs declared in the schema's metadata."""

from __future__ import annotations

import faulthandler
import itertools
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nearid.errors import UserError
from nearid.io.files import replacing
from nearid.io.hashing import hash_file, hash_json

MAX_RATIO, MAX_SMALL_BYTES = 200, 1 << 28
"""How much a Parquet file may unpack to: this many times its size, or this many bytes."""
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_table(target: Path | str, columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> None:
    """Write `columns` (in `schema`'s order) to `target` atomically; equal content gives equal bytes.

    Columns of type `IMAGE` take encoded bytes or None per row.
    """
    write_blocks(target, [columns], schema)


def write_blocks(target: Path | str, blocks: Iterable[Mapping[str, Sequence[Any]]], schema: pa.Schema) -> None:
    """As `write_table`, for columns given a few rows at a time, so that not all are in memory at once."""
    declared = _declare_images(schema)
    with replacing(target) as private, pq.ParquetWriter(private, declared, compression="zstd") as writer:
        for columns in blocks:
            arrays = [
                pa.array(
                    [None if value is None else {"bytes": value, "path": None} for value in columns[field.name]]
                    if field.type == IMAGE
                    else columns[field.name],
                    type=field.type,
                )
                for field in schema
            ]
            # Small row groups: a reader of one identity must not decode the whole shard.
            writer.write_table(pa.Table.from_arrays(arrays, schema=declared), row_group_size=64)


def read_table(source: Path | str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read `source`; image columns stay {bytes, path} structs.

    Raises:
        UserError: the file is missing, cut off or lacks one of `columns`.
    """
    table = _read(source, columns, columns)
    return table if columns is None else table.select(list(columns))


def map_table(source: Path, columns: Sequence[str], copies: Path) -> pa.Table:
    """As `read_table`, but from an uncompressed copy that is mapped into memory, for reading rows in random order.

    Args:
        source: a Parquet file.
        columns: which of its columns.
        copies: folder of the copies, which are made at first use; a copy of an older `source` is not used.

    Raises:
        UserError: as `read_table`.
    """
    copy = copies / f"{hash_json([hash_file(source), list(columns)])[:32]}.arrow"
    if not copy.is_file():
        table = read_table(source, columns)
        with replacing(copy) as private, pa.ipc.new_file(private, table.schema) as writer:
            writer.write_table(table)
    return pa.ipc.open_file(pa.memory_map(str(copy))).read_all()


def read_presence(source: Path | str, columns: Sequence[str]) -> NDArray[np.bool_]:
    """Which rows of `IMAGE` columns hold an image, `[rows, columns]`, without reading the images.

    Raises:
        UserError: as `read_table`.
    """
    # One field of a struct is enough to see which structs are null.
    table = _read(source, columns, [f"{column}.path" for column in columns])
    return np.stack([table[column].is_valid().to_numpy() for column in columns], axis=1)


def _read(source: Path | str, columns: Sequence[str] | None, fields: Sequence[str] | None) -> pa.Table:
    try:
        with pq.ParquetFile(source) as file:
            names = file.schema_arrow.names
            missing = sorted(set(columns or ()) - set(names))
            if missing:
                raise UserError(source, f"columns {', '.join(names)}", f"also {', '.join(missing)}", "remake the file")
            check_size(source, file)
            return file.read(columns=None if fields is None else list(fields))
    except FileNotFoundError:
        raise UserError(source, "no such file", "a Parquet file", "run the rule that makes it") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(source, f"not a whole Parquet file ({error})", "a Parquet file", "remake it") from error


def check_size(source: Path | str, file: pq.ParquetFile) -> None:
    """Check that `file` unpacks to at most `MAX_SMALL_BYTES`, or `MAX_RATIO` times its size.

    Args:
        source: its path.
        file: the opened file.

    Raises:
        UserError: it declares more, or repeats long values (with a Parquet dictionary) to more.
    """
    packed, metadata = Path(source).stat().st_size, file.metadata
    # Zeros shrink to a thousandth or less; our pictures and numbers do not.
    allowed = max(MAX_SMALL_BYTES, MAX_RATIO * packed)
    unpacked, repeated = 0, {}
    for index in range(metadata.num_columns):
        chunks = [metadata.row_group(group).column(index) for group in range(metadata.num_row_groups)]
        # A single stored number may stand for any count of equal ones.
        width = max(8, metadata.schema.column(index).length or 0)
        unpacked += sum(max(chunk.total_uncompressed_size, width * chunk.num_values) for chunk in chunks)
        texts = [chunk for chunk in chunks if chunk.physical_type == "BYTE_ARRAY" and chunk.has_dictionary_page]
        most = sum(chunk.total_uncompressed_size * chunk.num_values for chunk in texts)
        if most > allowed / metadata.num_columns:
            repeated[texts[0].path_in_schema] = most
    # Texts unpack to more than their dictionary. Where that could be too much, the column is read to compute it.
    for path in repeated if unpacked <= allowed else ():
        with pq.ParquetFile(source, read_dictionary=[path]) as short:
            for group in range(metadata.num_row_groups):
                column = short.read_row_group(group, columns=[path]).columns[0]
                unpacked += sum(_repeated_bytes(chunk) for chunk in column.chunks)
    if unpacked > allowed:
        raise UserError(
            source,
            f"{unpacked:,} bytes when unpacked, from a file of {packed:,}",
            f"at most {MAX_RATIO} times the file's size",
            "get the file from its source again",
        )


def check_header(source: Path | str, file: pq.ParquetFile) -> None:
    """Check, in a separate process, that Arrow can read the column metadata of a `file` from others.

    Raises:
        UserError: Arrow aborts that process, as it does at some faults.
    """
    metadata = file.metadata
    places = itertools.product(range(metadata.num_row_groups), range(metadata.num_columns))
    if not _survives(lambda: [metadata.row_group(group).column(index) for group, index in places]):
        raise UserError(
            source, "not a whole Parquet file (what it says of a column)", "a Parquet file", "fetch it again"
        )


def _survives(look: Callable[[], object]) -> bool:
    """Whether `look` can be called without ending its process: at some faults of a header, Arrow aborts."""
    sys.stderr.flush()
    child = os.fork()
    if not child:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            faulthandler.disable()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            look()
        finally:
            os._exit(0)  # an exception would be raised, and reported, in the parent too
    limit, pause = time.monotonic() + 60, 0.0005
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > limit:
            os.kill(child, signal.SIGKILL)
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    return ended[1] == 0


def _repeated_bytes(values: pa.Array) -> int:
    """Bytes that the texts in `values` take when each is written out; they may be inside structs and lists."""
    while pa.types.is_nested(values.type):
        values = values.field(0) if pa.types.is_struct(values.type) else values.values
    if not pa.types.is_dictionary(values.type):
        return int(values.nbytes)
    uses = pc.value_counts(values.indices.drop_null())
    lengths = pc.binary_length(values.dictionary).take(uses.field("values"))
    return pc.sum(pc.multiply_checked(lengths.cast(pa.int64()), uses.field("counts"))).as_py() or 0


def image_bytes(value: Mapping[str, Any] | None) -> bytes | None:
    """The encoded bytes of one value of an `IMAGE` column, None for an empty slot."""
    return None if value is None else value["bytes"]


def _declare_images(schema: pa.Schema) -> pa.Schema:
    # As `datasets` stores its features, so that load_dataset("parquet") decodes the images.
    def feature(field: pa.Field) -> dict[str, Any]:
        if field.type == IMAGE:
            return {"_type": "Image"}
        if pa.types.is_list(field.type):
            return {"feature": {"dtype": str(field.type.value_type), "_type": "Value"}, "_type": "List"}
        dtype = {"double": "float64", "float": "float32"}.get(str(field.type), str(field.type))
        return {"dtype": dtype, "_type": "Value"}

    features = {field.name: feature(field) for field in schema}
    metadata = dict(schema.metadata or {})
    metadata[b"huggingface"] = json.dumps({"info": {"features": features}}).encode()
    return schema.with_metadata(metadata)
