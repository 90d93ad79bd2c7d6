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


@dataclass(frozen=True, kw_only=True)
class ImagePlaces:
    """Where the messages of one camera lie in a bag, in the order of their stamps."""

    origin: NDArray[np.int64]
    """Byte of the file from which ``start`` counts (compressed: of the chunk's record), (N,)."""
    start: NDArray[np.int64]
    """First byte of the message's data, shape (N,)."""
    end: NDArray[np.int64]
    """Its end, shape (N,)."""
    is_compressed: NDArray[np.bool_]
    """Whether the message lies in a compressed chunk, shape (N,)."""


class BagImages(Sequence[bytes]):
    """JPEG bytes by index; each is read from the file at the moment it is asked for.

    Args:
        file: MCAP file.
        places: Where its messages lie.
    """

    def __init__(self, file: Path, places: ImagePlaces) -> None:
        self._file, self._places = file, places
        self._stream: IO[bytes] | None = None
        self._chunk: tuple[int, bytes] = (-1, b"")

    def __len__(self) -> int:
        return len(self._places.start)

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
            return image_bytes(self._message(index))
        except (*DAMAGE, OSError) as error:
            raise EpisodeError(
                f"image {index} of {self._file} cannot be read ({error}); "
                f"run 'ate repair --bag {self._file.parent}'"
            ) from None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_stream": None, "_chunk": (-1, b"")}  # opened anew elsewhere

    def _message(self, index: int) -> bytes:
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


def image_bytes(message: bytes) -> bytes:
    """Return the encoded image within the CDR bytes of a ``sensor_msgs/msg/CompressedImage``.

    Raises:
        ValueError: the message is cut, or something else.
    """
    order = "<I" if message[1] & 1 else ">I"
    place = 12  # after the byte order and the stamp
    for _ in ("frame_id", "format"):
        (length,) = struct.unpack_from(order, message, place)
        place += 4 + length
        place += -place % 4
    (length,) = struct.unpack_from(order, message, place)
    image = message[place + 4 : place + 4 + length]
    if len(image) != length:
        raise ValueError(f"{len(image)} of {length} bytes")
    return image
