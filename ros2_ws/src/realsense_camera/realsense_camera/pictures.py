"""What the pictures of a camera say of it; no clock, no camera library."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

KEPT = 4
"""Pictures that are remembered: as many as a driver has buffers."""
DARK = 5.0
"""Mean of a picture below which it is nearly black, of 255."""
FLAT = 1.0
"""Standard deviation of a picture's colours below which it shows nothing, of 255."""
LOOKED_AT = 64
"""Rows and columns that are looked at, at least."""


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


def complaint(image: NDArray[np.uint8]) -> tuple[str, str]:
    """What is odd about a picture (height, width, 3) of a colour camera, and what to do.

    Returns:
        Fault and remedy; both empty where there is none.
    """
    rows, columns = (max(size // LOOKED_AT, 1) for size in image.shape[:2])
    seen = image[::rows, ::columns]
    mean, deviations = float(seen.mean()), seen.std(axis=(0, 1))
    if mean < DARK:
        return (
            f"its picture is nearly black, mean {mean:.1f} of 255",
            "take off what covers its lens, give more light or a longer exposure",
        )
    if deviations.max() < FLAT:
        return (
            f"its picture is the same everywhere, deviation {deviations.max():.1f} of 255",
            "take off what covers its lens, give less light or a shorter exposure",
        )
    if deviations.min() < FLAT:
        dead = ("red", "green", "blue")[int(deviations.argmin())]
        return f"the {dead} of its picture is the same everywhere", "pull its plug and put it in"
    if (seen == seen[..., :1]).all():
        return (
            "its picture has no colours, red, green and blue are equal everywhere",
            "write the device's colour node into its serial, not one of infrared or grey",
        )
    return "", ""
