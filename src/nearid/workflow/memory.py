"""What the heaviest jobs take of the machine's own memory, in bytes, by the sizes of what they hold.

Requests follow from these at the paper's sizes (`nearid.workflow.needs`); a test runs the same code at small sizes in a
memory limit that they give (`test_memory.py`).
"""

from __future__ import annotations

RUNTIME = 4 * 10**9
"""Python with its libraries, and what CUDA keeps on the host: an estimate, the rest is counted."""


def pinned_bytes(size: int) -> int:
    """What `size` bytes of pinned memory take: PyTorch rounds to the next power of two."""
    return 1 << max(0, size - 1).bit_length()


def extraction_bytes(pixels: int, tokens: int, pictures: int, workers: int, ahead: int = 2) -> int:
    """Of extraction on a GPU beside `RUNTIME`.

    Args:
        pixels: bytes of a preprocessed batch.
        tokens: bytes of a batch's tokens.
        pictures: bytes of the shard's encoded pictures, which Arrow's table and the records both hold.
        workers: threads that decode; each has a batch that waits, one that it builds, the single pictures of that, and
            as much again of what was freed, which the C library keeps for its threads.
        ahead: batches that wait beside one per thread.
    """
    # One batch of tokens comes from the device, one is formed into checksums, one written and one kept as a part.
    return (ahead + 6 * workers) * pinned_bytes(pixels) + 4 * pinned_bytes(tokens) + 2 * pictures


def training_bytes(batch: int, validation: int, held: int) -> int:
    """Of training on a GPU from cached tokens, beside `RUNTIME`.

    Args:
        batch: bytes of a step's tokens.
        validation: bytes of the tokens of a batch of validation.
        held: batches in memory at a time.
    """
    return held * pinned_bytes(batch) + 2 * pinned_bytes(validation)


def layout_bytes(weights: int) -> int:
    """Of a judge whose weights are laid out on the host, beside `RUNTIME`.

    Experts lie transposed in their files, so that they are copied one tensor after the other while the model fills.

    Args:
        weights: bytes of the weight files.
    """
    return weights * 3 // 2
