"""Host memory of the heaviest jobs in bytes, computed from the sizes of what they hold.

Memory requests are these formulas at the paper's sizes (`nearid.workflow.needs`); `test_memory.py` runs the same code
at small sizes, within the limit that they give there.
"""

from __future__ import annotations

RUNTIME = 4 * 10**9
"""Python with its libraries, and what CUDA keeps on the host: an estimate, while all else is computed."""


def pinned_bytes(size: int) -> int:
    """What `size` bytes of pinned memory take: PyTorch rounds to the next power of two."""
    return 1 << max(0, size - 1).bit_length()


def extraction_bytes(pixels: int, tokens: int, pictures: int, workers: int, ahead: int = 2) -> int:
    """Memory of extraction on a GPU, beyond `RUNTIME`.

    Args:
        pixels: bytes of a preprocessed batch.
        tokens: bytes of a batch's tokens.
        pictures: bytes of the shard's encoded pictures, which Arrow's table and the records both hold.
        workers: decoding threads; each holds a finished batch, the batch that it builds, the pictures of that one,
            and as much again of freed memory that the C library keeps for its threads.
        ahead: finished batches that wait, beyond one per thread.
    """
    # Four batches of tokens: one comes from the device, one is being hashed, one being written, one kept as a part.
    return (ahead + 6 * workers) * pinned_bytes(pixels) + 4 * pinned_bytes(tokens) + 2 * pictures


def training_bytes(batch: int, validation: int, held: int) -> int:
    """Memory of training on a GPU from cached tokens, beyond `RUNTIME`.

    Args:
        batch: bytes of a step's tokens.
        validation: bytes of the tokens of a batch of validation.
        held: batches in memory at a time.
    """
    return held * pinned_bytes(batch) + 2 * pinned_bytes(validation)


def layout_bytes(weights: int) -> int:
    """Memory of a judge whose weights are loaded on the host, beyond `RUNTIME`.

    The files store the experts' weights transposed, so they are copied, tensor by tensor, while the model is filled.

    Args:
        weights: bytes of the weight files.
    """
    return weights * 3 // 2
