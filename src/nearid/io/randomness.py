"""Random generators keyed by their purpose, so that order, resuming and number of workers change nothing."""

from __future__ import annotations

import hashlib

import numpy as np


def keyed_seed(*key: object) -> int:
    """A 63-bit seed from `key`, e.g. `("sibling", source, id, view)`; the same on every machine."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def keyed_rng(*key: object) -> np.random.Generator:
    """A NumPy generator from `key` (see `keyed_seed`)."""
    return np.random.Generator(np.random.PCG64(keyed_seed(*key)))
