"""Reading the HDF5 file of a shard of patch tokens: keys, checksums and the file offset of each image."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nearid.errors import UserError
from nearid.io.hashing import hash_file

FORMAT = "nearid-tokens-1"
KEY = np.dtype([("id", "<i8"), ("slot", "<i2"), ("variant", "S16")])
# Enough for plain variants; a shard with only these keeps its old bytes.
SHORT = np.dtype("S8")
# Optional arrays: how each image was augmented [n, 9]; which images were damaged, as bytes of the JSON
# [[id, slot, reason], ...].
EXTRAS = ("parameters", "gaps")
DTYPE = np.dtype("<f2")


class Shard:
    """Keys, checksums and file offsets of a shard's images, read from its file, which is closed again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with h5py.File(path, "r", locking=False) as shard:
                self.attributes = {name: _plain(value) for name, value in shard.attrs.items()}
                self._check(shard)
        except FileNotFoundError:
            raise UserError(path, "no such file", "a token shard", "run `extract_tokens` for it") from None
        except (OSError, KeyError, RuntimeError, UnicodeDecodeError) as error:
            raise self._refuse(f"not a whole HDF5 file ({error})", "a token shard") from error

    def _check(self, shard: h5py.File) -> None:
        version = self.attributes.get("format")
        if version != FORMAT:
            raise self._refuse(f"format {version!r}", f"format {FORMAT!r}")
        if not self.attributes.get("complete"):
            raise self._refuse("a shard that was never completed", "attribute `complete` set")
        dataset, count = shard["tokens"], self.attributes["n"]
        chunks: list[Any] = []
        dataset.id.chunk_iter(chunks.append)
        if len(chunks) != count or len(dataset) != count:
            raise self._refuse(f"{len(chunks)} images", f"{count} images")
        names = [*("ids", "slots", "variants", "crc32"), *(name for name in EXTRAS if name in shard)]
        # A damaged header may declare any length, and so much memory would be allocated.
        if (declared := sum(shard[name].nbytes for name in names)) > self.path.stat().st_size:
            raise self._refuse(f"{declared:,} bytes of keys in a file of {self.path.stat().st_size:,}", "fewer")
        sides = {name: shard[name][()] for name in ("ids", "slots", "variants", "crc32")}
        extras = {name: shard[name][()] for name in EXTRAS if name in shard}
        header = {name: value for name, value in self.attributes.items() if name not in ("header_crc32", "complete")}
        if checksum(header, sides | extras) != self.attributes["header_crc32"]:
            raise self._refuse("damaged keys or attributes", f"crc32 {self.attributes['header_crc32']:08x}")
        self.keys = np.empty(count, KEY)
        self.keys["id"], self.keys["slot"], self.keys["variant"], self.checksums = sides.values()
        self.parameters = extras.get("parameters")
        gaps = json.loads(extras["gaps"].tobytes()) if "gaps" in extras else []
        self.gaps = {(id, slot): reason for id, slot, reason in gaps}
        self.token_shape = dataset.shape[1:]
        self.offsets = np.zeros(count, np.int64)
        for chunk in chunks:
            self.offsets[chunk.chunk_offset[0]] = chunk.byte_offset
        size = int(np.prod(self.token_shape)) * DTYPE.itemsize
        end = int(self.offsets.max(initial=0)) + size * bool(count)
        if dataset.dtype != DTYPE or any(chunk.size != size or chunk.filter_mask for chunk in chunks):
            raise self._refuse("filtered chunks or another dtype", "plain float16 chunks")
        if self.path.stat().st_size < end:
            raise self._refuse(f"{self.path.stat().st_size} bytes", f"at least {end}")

    def check_inputs(self, whole: bool = False) -> None:
        """Check that the input files are those that the tokens were made from; missing ones are not checked.

        Args:
            whole: check every file, not only those newer than the shard.

        Raises:
            UserError: a file has changed.
        """
        made = self.path.stat().st_mtime
        for name, expected in json.loads(self.attributes.get("inputs", "{}")).items():
            path = self.path.parent / name
            if path.is_file() and (whole or path.stat().st_mtime > made) and hash_file(path) != expected:
                raise self._refuse(f"tokens of images that have changed since ({path.resolve()})", "tokens of these")

    def _refuse(self, found: str, expected: str) -> UserError:
        return UserError(self.path, found, expected, "remove the file and make it again (`extract_tokens`)")


def checksum(header: Mapping[str, Any], sides: Mapping[str, NDArray[Any]]) -> int:
    """CRC-32 of a shard's attributes and of the arrays beside its tokens."""
    text = json.dumps(header, sort_keys=True).encode()
    return zlib.crc32(b"".join([text, *(side.tobytes() for side in sides.values())]))


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode() if isinstance(value, bytes) else value
