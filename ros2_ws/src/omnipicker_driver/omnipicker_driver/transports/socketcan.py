"""SocketCAN: the kernel's records of classic frames (16 bytes), standard id, no checksum of ours.

The port is a CAN interface (``can0``), set to 1 Mbit/s by the system. A port that is a path is a
unix socket that carries the same records: the emulated gripper listens there.
"""

import os
import socket
import struct

from omnipicker_driver.link import Link
from omnipicker_driver.protocol import PAYLOAD_LENGTH
from omnipicker_driver.transports.interface import TransportKind

RECORD = struct.Struct("=IB3x8s")
"""``struct can_frame``: id with flags, length, 8 bytes."""
_ID = 0x1FFFFFFF
_NO_DATA = 0x60000000
"""Flags of remote and error frames."""


class SocketCan:
    """The host's side; the gripper's is the same."""

    setup: tuple[bytes, ...] = ()

    def __init__(self, device_id: int) -> None:
        """Talk to the gripper with an id."""
        self._id = device_id
        self.dropped_bytes = 0
        self.strangers: set[int] = set()

    @property
    def missing(self) -> int:
        """One record."""
        return RECORD.size

    def wrap(self, payload: bytes) -> bytes:
        """The record of a payload (8 bytes)."""
        return RECORD.pack(self._id, len(payload), payload)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Payloads of the records with our id; a record comes whole or not at all."""
        payloads = []
        for begin in range(0, len(chunk), RECORD.size):
            record = chunk[begin : begin + RECORD.size]
            if len(record) < RECORD.size:
                self.dropped_bytes += len(record)
                break
            number, length, data = RECORD.unpack(record)
            if number & _NO_DATA or length != PAYLOAD_LENGTH:
                self.dropped_bytes += len(record)
            elif number & _ID != self._id:
                self.strangers.add(number & _ID)
            else:
                payloads.append(data)
        return payloads

    def clear(self) -> None:
        """Nothing is unfinished."""


class SocketCanAdapter:
    """The gripper's side of the bus."""

    def __init__(self, device_id: int) -> None:
        """Be the gripper with an id."""
        self._line = SocketCan(device_id)

    def feed(self, chunk: bytes, now: float) -> list[bytes]:
        """Commands with our id."""
        return self._line.feed(chunk)

    def wrap(self, payload: bytes) -> bytes:
        """The record of a report."""
        return self._line.wrap(payload)

    def idle(self, now: float) -> bytes:
        """Nothing."""
        return b""

    def clear(self) -> None:
        """Nothing is unfinished."""


class SocketLink:
    """An open socket of records."""

    def __init__(self, channel: socket.socket) -> None:
        """Take a connected socket."""
        self._socket = channel

    def read(self, count: int, limit: float) -> bytes:
        """One record, waiting ``limit`` [s] at most."""
        self._socket.settimeout(limit)
        try:
            record = self._socket.recv(RECORD.size)
        except TimeoutError:
            return b""
        if not record:
            raise ConnectionResetError("the other end is gone")
        return record

    def write(self, data: bytes) -> None:
        """Send one record."""
        self._socket.settimeout(0.5)
        self._socket.send(data)

    def discard(self) -> int:
        """Throw received records away."""
        count = 0
        self._socket.setblocking(False)
        try:
            while record := self._socket.recv(RECORD.size):
                count += len(record)
        except BlockingIOError:
            pass
        return count

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def open_link(port: str, baud: int) -> Link:
    """Open a CAN interface, or the socket of an emulated gripper; ``baud`` is the system's."""
    is_path = os.sep in port
    if is_path:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    else:
        channel = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
    try:
        if is_path:
            channel.connect(port)
        else:
            channel.bind((port,))
    except OSError:
        channel.close()
        raise
    return SocketLink(channel)


KIND = TransportKind(
    host=SocketCan, adapter=SocketCanAdapter, highest_id=0x7FF, open_link=open_link
)
