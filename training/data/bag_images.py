"""The images of one camera, read from its bag when they are asked for."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import EpisodeError
from training.data.mcap_chunks import DAMAGE, read_chunk_at

_LITTLE, _BIG = struct.Struct("<I"), struct.Struct(">I")


@dataclass(frozen=True, kw_only=True)
class ImagePlaces:
    """Where the images of one camera lie in a bag, in the order of their stamps."""

    origin: NDArray[np.int64]
    """Byte of the file from which ``start`` counts (compressed: of the chunk's record), (N,)."""
    start: NDArray[np.int64]
    """First byte of the encoded image, shape (N,)."""
    end: NDArray[np.int64]
    """Its end, shape (N,)."""
    is_compressed: NDArray[np.bool_]
    """Whether the image lies in a compressed chunk, shape (N,)."""


class BagImages(Sequence[bytes]):
    """JPEG bytes by index; each is read from the file at the moment it is asked for.

    Args:
        file: MCAP file.
        places: Where its images lie.
    """

    def __init__(self, file: Path, places: ImagePlaces) -> None:
        self._file, self._places = file, places
        self._stream: IO[bytes] | None = None
        self._chunk: tuple[int, bytes] = (-1, b"")

    def __len__(self) -> int:
        return len(self._places.start)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Length of every image, shape (N,) [bytes]; known without reading one."""
        return self._places.end - self._places.start

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        try:
            return self._read(index)
        except (*DAMAGE, OSError) as error:
            raise EpisodeError(
                f"image {index} of {self._file} cannot be read ({error}); "
                f"run 'ate repair --bag {self._file.parent}'"
            ) from None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_stream": None, "_chunk": (-1, b"")}  # opened anew elsewhere

    def _read(self, index: int) -> bytes:
        if self._stream is None:
            self._stream = self._file.open("rb", buffering=0)
        places = self._places
        origin, start, end = (
            int(part[index]) for part in (places.origin, places.start, places.end)
        )
        if not places.is_compressed[index]:
            return os.pread(self._stream.fileno(), end - start, origin + start)
        if self._chunk[0] != origin:
            self._chunk = (origin, read_chunk_at(self._stream, origin))
        return self._chunk[1][start:end]


class ChosenImages(Sequence[bytes]):
    """The images at the ticks of an episode.

    Args:
        images: All images of a camera.
        index: Which of them is seen at each tick, shape (T,).
    """

    def __init__(self, images: Sequence[bytes], index: NDArray[np.int64]) -> None:
        self._images, self._index = images, index

    def __len__(self) -> int:
        return len(self._index)

    @property
    def longest(self) -> int:
        """Length of the longest [bytes]."""
        if isinstance(self._images, BagImages):
            return int(self._images.sizes[self._index].max(initial=0))
        return max((len(image) for image in self), default=0)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self._images[i] for i in self._index[index].tolist()]
        return self._images[int(self._index[index])]


def find_image(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where the encoded image of a ``sensor_msgs/msg/CompressedImage`` begins and ends.

    Args:
        data: Bytes that hold the CDR message.
        start: Where it begins.
        end: Where it ends.

    Raises:
        ValueError: the message is cut, or something else.
    """
    if end - start < 16:
        raise ValueError(f"{end - start} bytes are no image message")
    order = _LITTLE if data[start + 1] & 1 else _BIG
    place = start + 12  # after the byte order and the stamp
    for _ in ("frame_id", "format"):
        place += 4 + order.unpack_from(data, place)[0]
        place += (start - place) % 4
        if place + 4 > end:
            raise ValueError("a text leaves the message")
    (length,) = order.unpack_from(data, place)
    if place + 4 + length > end:
        raise ValueError(f"the image has {end - place - 4} of {length} bytes")
    return place + 4, place + 4 + length
