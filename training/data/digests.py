"""What tells one set of training data from another."""

import hashlib

from torch import Tensor

from training.data.chunk_rows import ChunkRows


def sha256_of(*values: Tensor | str | None) -> str:
    """Digest of texts and of the bytes of tensors on the CPU, in their order; None is nothing."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, str):
            digest.update(value.encode())
        elif value is not None:
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def spread(rows: Tensor | ChunkRows, count: int) -> Tensor:
    """About `count` of many rows (N, ...), at equal distances over all of them."""
    return rows[:: max(1, len(rows) // count)]
