"""Measures of a camera's pictures, decoded small and once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import simplejpeg
from numpy.typing import NDArray

LEAST_HEIGHT, LEAST_WIDTH = 120, 160
"""Size from which on a picture is decoded no larger [px]: blur still shows."""
COLOURED = 12
"""Pictures of an episode that are decoded in colour."""
ROWS, COLUMNS = 6, 8
"""Fields of the mean picture that stands for how a camera looks."""


@dataclass(frozen=True, kw_only=True)
class PictureMeasures:
    """One number per picture of a camera; NaN where it does not decode."""

    brightness: NDArray[np.float64]
    """Mean grey, 0 black to 255, shape (N,)."""
    contrast: NDArray[np.float64]
    """Standard deviation of the grey, shape (N,)."""
    sharpness: NDArray[np.float64]
    """Mean absolute Laplacian over the contrast, shape (N,)."""
    change: NDArray[np.float64]
    """Mean absolute difference from the picture before, shape (N,); NaN for the first."""
    errors: dict[int, str]
    """Index -> what the decoder says."""
    look: NDArray[np.float64]
    """Mean colours (red, green, blue) of some pictures, of 255, shape (`ROWS`, `COLUMNS`, 3): a
    set has one way to hold a camera and one order of colours. NaN where none decodes."""

    @property
    def sides(self) -> dict[str, float]:
        """How colours and light lie in the pictures on average, of 255."""
        grey = self.look.mean(axis=2)
        left, top = grey[:, : COLUMNS // 2].mean(), grey[: ROWS // 2].mean()
        return {
            "red_less_blue": float((self.look[..., 0] - self.look[..., 2]).mean()),
            "left_less_right": float(left - grey[:, COLUMNS // 2 :].mean()),
            "top_less_bottom": float(top - grey[ROWS // 2 :].mean()),
        }


_KNOWN: WeakKeyDictionary[Sequence[bytes], PictureMeasures] = WeakKeyDictionary()


def picture_measures(images: Sequence[bytes]) -> PictureMeasures:
    """Return the measures of a camera's pictures; remembered while the images live."""
    if isinstance(images, list):
        return _measure(images)
    if images not in _KNOWN:
        _KNOWN[images] = _measure(images)
    return _KNOWN[images]


def _measure(images: Sequence[bytes]) -> PictureMeasures:
    rows = np.full((len(images), 4), np.nan)
    errors: dict[int, str] = {}
    before: NDArray[np.int16] | None = None
    for index in range(len(images)):
        try:
            grey = simplejpeg.decode_jpeg(
                images[index],
                "GRAY",
                fastdct=True,
                min_height=LEAST_HEIGHT,
                min_width=LEAST_WIDTH,
            )[..., 0].astype(np.int16)
        except ValueError as error:
            errors[index] = str(error)
            before = None
            continue
        contrast = float(grey.std())
        rows[index, :2] = grey.mean(), contrast
        rows[index, 2] = _laplacian(grey) / max(contrast, 1.0)
        if before is not None and before.shape == grey.shape:
            rows[index, 3] = np.abs(grey - before).mean()
        before = grey
    return PictureMeasures(
        brightness=rows[:, 0],
        contrast=rows[:, 1],
        sharpness=rows[:, 2],
        change=rows[:, 3],
        errors=errors,
        look=_look(images, [index for index in range(len(images)) if index not in errors]),
    )


def _look(images: Sequence[bytes], sound: Sequence[int]) -> NDArray[np.float64]:
    """Mean of some pictures in colour, from the first to the last, in `ROWS` by `COLUMNS`."""
    if not sound:
        return np.full((ROWS, COLUMNS, 3), np.nan)
    chosen = sorted({sound[round(place)] for place in np.linspace(0, len(sound) - 1, COLOURED)})
    total = np.zeros((ROWS, COLUMNS, 3))
    for index in chosen:
        picture = simplejpeg.decode_jpeg(
            images[index], "RGB", fastdct=True, min_height=LEAST_HEIGHT, min_width=LEAST_WIDTH
        )
        for row, band in enumerate(np.array_split(picture, ROWS, axis=0)):
            for column, part in enumerate(np.array_split(band, COLUMNS, axis=1)):
                total[row, column] += part.mean(axis=(0, 1)) / len(chosen)
    return total


def _laplacian(grey: NDArray[np.int16]) -> float:
    middle = 4 * grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.abs(middle - around).mean())
