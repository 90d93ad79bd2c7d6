"""Sockets of the emulated controller: listening ones, and connections that carry lines."""

import contextlib
import os
import socket
import struct

from ate_core.errors import DeviceError

LONGEST_LINE = 16383
"""A longer message is thrown away, as the real controller does."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER off at once: close sends RST


class Line:
    """One stream connection and what has arrived of its next line."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over a fresh connection."""
        connection.setblocking(False)
        self.socket = connection
        self._buffer = b""
        self._skipping = False  # the rest of a line that was too long

    def receive(self) -> list[bytes] | None:
        """Complete lines so far; None when the peer is gone."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if lines and self._skipping:
            self._skipping, lines = False, lines[1:]
        if len(self._buffer) > LONGEST_LINE:
            self._skipping, self._buffer = True, b""
        return [line for line in lines if len(line) <= LONGEST_LINE]

    def send(self, data: bytes) -> None:
        """Send at once or not at all: a client that does not read must not stop the arm."""
        with contextlib.suppress(OSError):
            self.socket.send(data)

    def close(self, *, reset: bool = False) -> None:
        """Close, with a TCP reset if wanted."""
        if reset:
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()


def listen_tcp(ip: str, port: int) -> socket.socket:
    """Listen at an address.

    Raises:
        DeviceError: the address or port cannot be used.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ip, port))
        listener.listen(8)
    except OSError as error:
        listener.close()
        raise DeviceError(
            f"arm address {ip}:{port} cannot be opened ({os.strerror(error.errno or 0)}): stop "
            "the other process there, or change ip or tcp_port in the simulation section of "
            "the cell file"
        ) from None
    listener.setblocking(False)
    return listener
