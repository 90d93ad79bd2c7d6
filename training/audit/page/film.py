"""The pictures of a camera as one sheet of small frames, which a page can show at any moment."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

RATE = 4.0
"""Frames of the sheet per second of the episode, at most [Hz]."""
LONGEST = 600
"""Most frames of a sheet: longer episodes have fewer per second."""
COLUMNS = 10
"""Frames side by side."""
WIDTH = 160
"""Width of a frame, at most [px]."""
QUALITY = 50
"""JPEG quality of the sheet, 1 to 100."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Film:
    """One camera's small frames."""

    times: tuple[float, ...]
    """When each was taken, from the start of the episode [s]."""
    frames: NDArray[np.uint8]
    """Shape (N, height, width, 3); one that does not decode is grey."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the sheet as base64 of a JPEG, row by row."""
        count, height, width = self.frames.shape[:3]
        rows = -(-count // COLUMNS)
        cells = np.zeros((rows * COLUMNS, height, width, 3), np.uint8)
        cells[:count] = self.frames
        sheet = cells.reshape(rows, COLUMNS, height, width, 3).swapaxes(1, 2)
        return {
            "times": [round(time, 3) for time in self.times],
            "width": width,
            "height": height,
            "columns": COLUMNS,
            "jpeg": _encoded(sheet.reshape(rows * height, COLUMNS * width, 3)),
        }

    def thumbnail(self) -> str:
        """The frame in the middle, as base64 of a JPEG."""
        return _encoded(self.frames[len(self.frames) // 2])


def make_film(images: Sequence[bytes], seconds: NDArray[np.float64]) -> Film | None:
    """Return the film of a camera; None where no picture decodes.

    Args:
        images: As recorded.
        seconds: When, from the start of the episode [s].
    """
    rows = choose(seconds)
    pictures = [_decoded(images[row]) for row in rows]
    sound = next((picture for picture in pictures if picture is not None), None)
    if sound is None:
        return None
    width = min(WIDTH, sound.shape[1])
    height = max(1, round(width * sound.shape[0] / sound.shape[1]))
    frames = np.full((len(rows), height, width, 3), 128, np.uint8)
    for frame, picture in zip(frames, pictures, strict=True):
        if picture is not None:
            frame[:] = _resized(picture, height, width)
    return Film(times=tuple(seconds[rows].tolist()), frames=frames)


def choose(seconds: NDArray[np.float64]) -> list[int]:
    """Return which pictures become frames: evenly, at most `RATE` and `LONGEST`."""
    if not len(seconds):
        return []
    length = max(float(seconds[-1] - seconds[0]), 0.0)
    count = min(len(seconds), LONGEST, int(length * RATE) + 2)
    wanted = np.linspace(seconds[0], seconds[-1], count)
    places = np.searchsorted(seconds, wanted)
    return [int(row) for row in np.unique(np.clip(places, 0, len(seconds) - 1))]


def _decoded(data: bytes) -> Picture | None:
    try:
        picture: Picture = simplejpeg.decode_jpeg(
            data, "RGB", fastdct=True, min_height=1, min_width=WIDTH
        )
    except ValueError:
        return None  # a rule tells of it
    return picture


def _resized(picture: Picture, height: int, width: int) -> Picture:
    """The nearest pixels: the decoder has averaged down to less than twice the size."""
    rows = (np.arange(height) + 0.5) * picture.shape[0] / height
    columns = (np.arange(width) + 0.5) * picture.shape[1] / width
    resized: Picture = picture[rows.astype(int)[:, None], columns.astype(int)]
    return resized


def _encoded(picture: Picture) -> str:
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), QUALITY, "RGB", "420")
    return base64.b64encode(jpeg).decode()
