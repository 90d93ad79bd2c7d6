"""Memory of a training step: what it needs, what it may keep, what to do when it is not there."""

import ctypes
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from ate_core.errors import TrainingError

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Parameters of glibc's mallopt (malloc.h)."""
LARGE = 1 << 30
"""No tensor of a step on a CPU is larger [bytes]."""

REFUSALS = ("out of memory", "can't allocate memory", "Unable to allocate")
"""What GPUs, PyTorch's allocator on a CPU and numpy's say where memory was refused."""


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


def memory_estimate(model: nn.Module, average: bool, kept: bool = False) -> str:
    """What weights, gradients and optimiser will take, in words; activations come on top.

    Args:
        model: To be trained.
        average: Whether its weights are averaged.
        kept: Whether it is also kept as it was before the first step.
    """
    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    copies = 4 if average else 3  # gradient, two moments, average
    gigabytes = 4e-9 * ((2 if kept else 1) * total + copies * trained)
    return (
        f"{total / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained: {gigabytes:.1f} GB for "
        f"weights, gradients, Adam's moments{' and the average' if average else ''}"
        f"{' and the initial policy' if kept else ''}, "
        "activations come on top"
    )


@contextmanager
def explain_memory(remedy: str) -> Iterator[None]:
    """Out of memory becomes an error that says what to try; for use as a decorator.

    Args:
        remedy: What the command offers.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # those of GPUs are RuntimeErrors too
        told = str(error)
        if not isinstance(error, MemoryError) and not any(word in told for word in REFUSALS):
            raise
        told = textwrap.shorten(told, 200) or type(error).__name__
        raise TrainingError(f"out of memory ({told}): {remedy}") from None
