"""A test pattern: colour bars, a moving white line and the frame number in binary."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ate_core.shared_state import SharedBlock, frame_dtype, new_record

BARS = ((200, 200, 200), (200, 200, 0), (0, 200, 200), (0, 200, 0), (200, 0, 200), (200, 0, 0))
"""RGB of the bars, from left to right."""
NUMBER_BITS = 16
"""Squares in the top rows, most significant bit first; white is 1."""


def draw_pattern(height: int, width: int, number: int) -> NDArray[np.uint8]:
    """The RGB picture (height, width, 3) of a frame number."""
    columns = np.arange(width) * len(BARS) // width
    image = np.broadcast_to(np.array(BARS, np.uint8)[columns], (height, width, 3)).copy()
    image[:, (4 * number) % width] = 255
    size = max(width // NUMBER_BITS, 1)
    bits = [(number >> (NUMBER_BITS - 1 - bit)) & 1 for bit in range(NUMBER_BITS)]
    strip = np.repeat(np.array(bits, np.uint8) * 255, size)[:width]
    image[: min(size, height), : strip.size] = strip[None, :, None]
    return image


def read_number(image: NDArray[np.uint8]) -> int:
    """The frame number in a picture (height, width, 3), also after JPEG compression."""
    size = max(image.shape[1] // NUMBER_BITS, 1)
    middles = size // 2 + size * np.arange(NUMBER_BITS)
    bits = image[size // 2, middles].mean(axis=1) > 127
    return int(sum(1 << (NUMBER_BITS - 1 - place) for place in np.flatnonzero(bits)))


class PatternCamera:
    """Write pictures as the renderer of the simulated cell does."""

    def __init__(self, path: Path, height: int, width: int) -> None:
        """Create the shared block at ``path``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        dtype = frame_dtype(height, width)
        self._size = (height, width)
        self._record = new_record(dtype)
        self._block = SharedBlock(path, dtype, create=True)

    def show(self, number: int) -> None:
        """Draw and publish a picture."""
        self._record["image"][0] = draw_pattern(*self._size, number)
        self._record["sequence"] = number
        self._record["time_ns"] = time.monotonic_ns()
        self._block.write(self._record)

    def repeat(self) -> None:
        """Publish the last picture again, as a camera does whose pipeline hangs."""
        self._block.write(self._record)

    def close(self) -> None:
        """Remove the block."""
        self._block.close()
        self._block.unlink()
