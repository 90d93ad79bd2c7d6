"""An MCAP file written chunk by chunk: what a chunk holds is in the file as soon as it ends.

The records are those of mcap.dev/spec. Each chunk carries the checksum of its bytes, so that
rotten ones are found when they are read.
"""

from __future__ import annotations

import struct
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from ate_core.locks import lock_opened

MAGIC = b"\x89MCAP0\r\n"
CHUNK_BYTES = 2**20
"""Size at which a chunk ends [bytes]."""
_MESSAGE = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, log and publish time
_MESSAGE_BYTES = _MESSAGE.size - 9
_UNSET = 2**63 - 1


class McapFile:
    """Writes one new file, unbuffered; used from one thread at a time.

    It is locked until it is closed: `ate_core.open_bags` tells others.

    Args:
        path: File to create.
        library: What the header names as its writer.
    """

    def __init__(self, path: Path, library: str) -> None:
        self._file = path.open("xb", buffering=0)
        lock_opened(self._file.fileno())
        self._at = 0
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._chunk_indexes: list[ChunkIndex] = []
        self.counts: dict[int, int] = {}
        """Messages by channel."""
        self.first_ns, self.last_ns = _UNSET, 0
        self._chunk_first_ns: int = _UNSET
        self._chunk_last_ns: int = 0
        self._begin_chunk()
        self._put(MAGIC + _bytes_of(Header(profile="ros2", library=library)))

    @property
    def chunks(self) -> int:
        """Chunks that are in the file."""
        return len(self._chunk_indexes)

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._at

    def fileno(self) -> int:
        """Descriptor of the file."""
        return self._file.fileno()

    def add_channel(self, topic: str, schema: tuple[str, str], metadata: Mapping[str, str]) -> int:
        """Describe a topic and return its number.

        Args:
            topic: Absolute name.
            schema: Message type as ``sensor_msgs/msg/JointState``, and its definition.
            metadata: What else is told of it.
        """
        name, text = schema
        known = next((s for s in self._schemas if s.name == name), None)
        if known is None:
            number = len(self._schemas) + 1
            known = Schema(id=number, name=name, encoding="ros2msg", data=text.encode())
            self._schemas.append(known)
            self._chunk += _bytes_of(known)
        channel = Channel(
            id=len(self._channels) + 1,
            topic=topic,
            message_encoding="cdr",
            metadata=dict(metadata),
            schema_id=known.id,
        )
        self._channels.append(channel)
        self.counts[channel.id] = 0
        self._chunk += _bytes_of(channel)
        return channel.id

    def write(
        self, channel: int, log_ns: int, data: bytes, publish_ns: int, sequence: int = 0
    ) -> None:
        """Append one message to the present chunk, which ends when it is large enough."""
        self._index[channel].append((log_ns, len(self._chunk)))
        length = _MESSAGE_BYTES + len(data)
        self._chunk += _MESSAGE.pack(
            Opcode.MESSAGE, length, channel, sequence & 0xFFFFFFFF, log_ns, publish_ns
        )
        self._chunk += data
        self.counts[channel] += 1
        self._chunk_first_ns = min(self._chunk_first_ns, log_ns)
        self._chunk_last_ns = max(self._chunk_last_ns, log_ns)
        if len(self._chunk) > CHUNK_BYTES:
            self.end_chunk()

    def end_chunk(self) -> None:
        """Hand the present chunk to the system, where there is anything in it."""
        if not self._index:
            return
        chunk = Chunk(
            compression="",
            data=bytes(self._chunk),
            message_start_time=self._chunk_first_ns,
            message_end_time=self._chunk_last_ns,
            uncompressed_crc=zlib.crc32(self._chunk),
            uncompressed_size=len(self._chunk),
        )
        text = _bytes_of(chunk)
        start, offsets, indexes = self._at, {}, b""
        for channel, entries in self._index.items():
            offsets[channel] = start + len(text) + len(indexes)
            indexes += _bytes_of(MessageIndex(channel_id=channel, records=entries))
        self._put(text + indexes)
        self._chunk_indexes.append(
            ChunkIndex(
                chunk_length=len(text),
                chunk_start_offset=start,
                compression="",
                compressed_size=len(self._chunk),
                message_end_time=self._chunk_last_ns,
                message_index_length=len(indexes),
                message_index_offsets=offsets,
                message_start_time=self._chunk_first_ns,
                uncompressed_size=len(self._chunk),
            )
        )
        self.first_ns = min(self.first_ns, self._chunk_first_ns)
        self.last_ns = max(self.last_ns, self._chunk_last_ns)
        self._begin_chunk()

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Write the last chunk, rosbag2's record of metadata, the index and the footer."""
        self.end_chunk()
        text = _bytes_of(Metadata(name="rosbag2", metadata=dict(metadata)))
        index = MetadataIndex(offset=self._at, length=len(text), name="rosbag2")
        self._put(text + _bytes_of(DataEnd(data_section_crc=0)))
        self._put(self._summary(index))

    def close(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def _summary(self, metadata: MetadataIndex) -> bytes:
        """Summary section, footer and closing magic."""
        statistics = Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=self.counts,
            chunk_count=len(self._chunk_indexes),
            message_count=sum(self.counts.values()),
            message_end_time=self.last_ns,
            message_start_time=self.first_ns,
            metadata_count=1,
            schema_count=len(self._schemas),
        )
        groups: dict[Opcode, Sequence[McapRecord]] = {
            Opcode.SCHEMA: self._schemas,
            Opcode.CHANNEL: self._channels,
            Opcode.CHUNK_INDEX: self._chunk_indexes,
            Opcode.METADATA_INDEX: [metadata],
            Opcode.STATISTICS: [statistics],
        }
        start, text, offsets = self._at, b"", b""
        for opcode, records in groups.items():
            group = b"".join(_bytes_of(record) for record in records)
            at = start + len(text)
            offsets += _bytes_of(
                SummaryOffset(group_opcode=opcode, group_start=at, group_length=len(group))
            )
            text += group
        footer = _bytes_of(
            Footer(summary_start=start, summary_offset_start=start + len(text), summary_crc=0)
        )
        crc = zlib.crc32(text + offsets + footer[:-4])
        return text + offsets + footer[:-4] + struct.pack("<I", crc) + MAGIC

    def _begin_chunk(self) -> None:
        self._chunk = bytearray()
        self._index: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._chunk_first_ns, self._chunk_last_ns = _UNSET, 0

    def _put(self, data: bytes) -> None:
        """Hand bytes to the system, all of them."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._at += len(data)


def _bytes_of(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return bytes(builder.end())  # type: ignore[no-untyped-call]
