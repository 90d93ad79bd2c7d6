"""Still pictures of recordings -> sound JPEGs."""

import io
import math
from collections.abc import Sequence

import av
import numpy as np
import simplejpeg
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ate_core.errors import EpisodeError

QUALITY = 95
"""Of the JPEGs made here, 4:4:4: the video has lost enough already."""
LEAST_BYTES = 0.05
"""Of a JPEG, per pixel, low: plain pictures of the simulated cell at quality 90 have 0.06."""
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"


def as_jpeg(data: bytes, *, swap: bool, where: str) -> bytes:
    """Picture as it lies in a file -> JPEG; a sound one passes unchanged.

    Args:
        data: JPEG, PNG or another still picture.
        swap: Exchange red and blue.
        where: Names it in messages.

    Raises:
        EpisodeError: it is no picture, or only a part of one.
    """
    try:
        if not data.startswith(JPEG_START):
            return to_jpeg(_decode(data), swap=swap)
        if not data.endswith(JPEG_END):
            raise ValueError("its end is missing")
        simplejpeg.decode_jpeg_header(data)
        return to_jpeg(simplejpeg.decode_jpeg(data, "RGB"), swap=True) if swap else data
    except (av.error.FFmpegError, IndexError, StopIteration, ValueError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise EpisodeError(
            f"{where}: {len(data)} bytes are no whole picture ({reason}): copy the recordings "
            "again, or remove the episode"
        ) from None


def to_jpeg(image: NDArray[np.uint8], *, swap: bool) -> bytes:
    """Encode one (h, w, 3) image; ``swap``: its channels are blue, green, red."""
    order = "BGR" if swap else "RGB"
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(image), QUALITY, order, "444")
    return bytes(jpeg)


def least_jpeg(shape: Sequence[int]) -> float:
    """What a JPEG of a picture (h, w, 3) or (3, h, w) takes at least [byte]."""
    return LEAST_BYTES * math.prod(shape) / 3


def pixels(frame: VideoFrame) -> NDArray[np.uint8]:
    """Frame -> (h, w, 3) RGB."""
    return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)


def _decode(data: bytes) -> NDArray[np.uint8]:
    with av.open(io.BytesIO(data), "r") as container:
        return pixels(next(container.decode(container.streams.video[0])))
