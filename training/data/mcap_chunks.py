"""Reads an MCAP file once, from front to back, chunk by chunk: memory does not grow with it.

The records are those of https://mcap.dev/spec; what is not needed to read messages is passed
over. A message is not copied here, only placed: its first byte and its end within a block.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Schema
from mcap.stream_reader import get_chunk_data_stream

from ate_core.errors import EpisodeError
from ate_core.open_bags import remedy_of

MAGIC = b"\x89MCAP0\r\n"
DAMAGE = (
    McapError, ValueError, KeyError, IndexError, MemoryError, OverflowError, EOFError,
    struct.error, zlib.error,
)  # fmt: skip
"""What reading raises on rotten bytes: lengths and numbers are then anything."""

_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")


class Placed(NamedTuple):
    """One message of a block."""

    channel: int
    """Channel id."""
    sequence: int
    """Number its publisher gave it; 0 where none did."""
    log_ns: int
    """Receive time [ns]."""
    start: int
    """First byte of its data within the block."""
    end: int
    """End of its data within the block."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The messages of one chunk."""

    data: bytes
    """The chunk's records, uncompressed."""
    origin: int
    """Where ``data`` starts in the file; of a compressed chunk where its record starts."""
    is_compressed: bool
    """Whether the chunk must be uncompressed before a place in it means anything."""
    messages: tuple[Placed, ...]
    """Its messages in the order written."""


class McapChunks:
    """The blocks of a file, and the channels seen so far.

    Args:
        stream: The file, open for reading.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._size = stream.seek(0, 2)
        self.schemas: dict[int, str] = {}
        """Message type by schema id."""
        self.channels: dict[int, Channel] = {}
        """Channels by id."""

    def msgtype(self, channel: int) -> str:
        """Return the type of a channel's messages; empty where the file does not say."""
        return self.schemas.get(self.channels[channel].schema_id, "")

    def __iter__(self) -> Iterator[Block]:
        """Yield every block; a damaged file raises one of ``DAMAGE``."""
        place = self._stream.seek(len(MAGIC))
        while place + _RECORD.size <= self._size:
            opcode, length = _RECORD.unpack(self._stream.read(_RECORD.size))
            body = place + _RECORD.size
            if body + length > self._size:
                raise EOFError(f"record of {length} bytes at byte {place} leaves the file")
            if opcode == Opcode.CHUNK:
                yield self._chunk(self._stream.read(length), place)
            elif opcode == Opcode.MESSAGE:
                data = self._stream.read(length)
                yield Block(
                    data=data,
                    origin=body,
                    is_compressed=False,
                    messages=(_placed(data, 0, length),),
                )
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._describe(opcode, self._stream.read(length))
            elif opcode == Opcode.DATA_END:
                return
            place = self._stream.seek(body + length)
        raise EOFError(f"no end of data after {self._size} bytes")

    def _chunk(self, record: bytes, place: int) -> Block:
        chunk = Chunk.read(ReadDataStream(BytesIO(record)))
        data = unpack_chunk(chunk)
        return Block(
            data=data,
            origin=place if chunk.compression else place + _RECORD.size + len(record) - len(data),
            is_compressed=bool(chunk.compression),
            messages=tuple(self._messages(data)),
        )

    def _messages(self, data: bytes) -> Iterator[Placed]:
        place, size = 0, len(data)
        while place < size:
            opcode, length = _RECORD.unpack_from(data, place)
            place += _RECORD.size
            if place + length > size:
                raise EOFError(f"record of {length} bytes leaves its chunk")
            if opcode == Opcode.MESSAGE:
                yield _placed(data, place, length)
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._describe(opcode, data[place : place + length])
            place += length

    def _describe(self, opcode: int, record: bytes) -> None:
        stream = ReadDataStream(BytesIO(record))
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(stream)
            self.schemas[schema.id] = schema.name
        else:
            channel = Channel.read(stream)
            self.channels[channel.id] = channel


def unpack_chunk(chunk: Chunk) -> bytes:
    """Return a chunk's records, uncompressed and compared with their checksum."""
    if not chunk.compression:
        data = chunk.data
    else:
        data = get_chunk_data_stream(chunk)[0].read(chunk.uncompressed_size)
    if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise ValueError("the checksum of a chunk does not fit its bytes")
    return data


def read_chunk_at(stream: IO[bytes], place: int) -> bytes:
    """Return the uncompressed records of the chunk whose record starts at a byte of the file."""
    stream.seek(place)
    opcode, length = _RECORD.unpack(stream.read(_RECORD.size))
    if opcode != Opcode.CHUNK:
        raise ValueError(f"no chunk at byte {place}")
    return unpack_chunk(Chunk.read(ReadDataStream(BytesIO(stream.read(length)))))


def is_complete(file: Path) -> bool:
    """Whether the file ends as an MCAP file must; a recording that was cut off does not."""
    with file.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - len(MAGIC)))
        return size > 2 * len(MAGIC) and stream.read() == MAGIC


def require_mcap(file: Path) -> None:
    """Refuse a file that does not begin as an MCAP.

    Raises:
        EpisodeError: with what helps.
    """
    with file.open("rb") as stream:
        if not MAGIC.startswith(stream.read(len(MAGIC))):
            raise EpisodeError(
                f"{file} is no MCAP file: whatever wrote it was no recorder; take the bag from a "
                "copy, or record the episode anew"
            )


def require_complete(file: Path) -> None:
    """Refuse a file that is no MCAP, or whose end is missing.

    Raises:
        EpisodeError: with what helps.
    """
    require_mcap(file)
    if not is_complete(file):
        raise EpisodeError(
            f"truncated: no footer after {file.stat().st_size} bytes; {remedy_of(file.parent)}"
        )


def _placed(data: bytes, place: int, length: int) -> Placed:
    channel, sequence, log_ns, _ = _MESSAGE.unpack_from(data, place)
    return Placed(channel, sequence, log_ns, place + _MESSAGE.size, place + length)
