"""What tells one set of training data from another."""

import hashlib

from torch import Tensor

from training.data.chunk_rows import ChunkRows

SAMPLED = 4096
"""Chunks of a set that are looked at, spread over all of it."""


def sha256_of(*values: Tensor | str | None) -> str:
    """Digest of texts and of the bytes of tensors on the CPU, in their order; None is nothing."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, str):
            digest.update(value.encode())
        elif value is not None:
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def spread(chunks: Tensor | ChunkRows) -> Tensor:
    """Some of many chunks (N, ...), over all of them: written out, they are large."""
    return chunks[:: max(1, len(chunks) // SAMPLED)]
