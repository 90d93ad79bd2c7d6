"""What the pictures of a camera say of it; no clock, no camera library."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

KEPT = 4
"""Pictures that are remembered: as many as a driver has buffers."""


def equal_pictures(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two C-contiguous pictures (height, width, 3) agree to the last bit; a memcmp."""
    return one.shape == other.shape and one.data.cast("B") == other.data.cast("B")


class SeenPictures:
    """The last different pictures of a camera, which tell when it shows an old one again.

    More than the latest are kept: a pipeline that hangs may hand its buffers round.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._kept: deque[NDArray[np.uint8]] = deque(maxlen=KEPT)

    @property
    def latest(self) -> NDArray[np.uint8] | None:
        """The last picture that was new, (height, width, 3); None before the first."""
        return self._kept[-1] if self._kept else None

    def take(self, image: NDArray[np.uint8]) -> bool:
        """Whether a C-contiguous picture (height, width, 3) is new; a new one is kept."""
        if any(equal_pictures(image, kept) for kept in self._kept):
            return False
        self._kept.append(image)
        return True
