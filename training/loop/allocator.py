"""Memory of a training step on a CPU."""

import ctypes

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Parameters of glibc's mallopt (malloc.h)."""
LARGE = 1 << 30
"""No tensor of a step on a CPU is larger [bytes]."""


def keep_freed_memory() -> None:
    """Let the C library keep what a step has freed, for the next one.

    By default glibc returns tensors above 32 MB, and the free end of its heap, to the kernel,
    which clears every page again in the next step: 6 % of a step of the paper's VAE. Without
    glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGE)
        mallopt(TRIM_THRESHOLD, LARGE)
