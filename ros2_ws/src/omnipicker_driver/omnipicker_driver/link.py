"""An open line to a gripper: bytes out, bytes in within a time limit."""

import os
import termios
from typing import Protocol

import serial

LINK_ERRORS = (OSError, serial.SerialException, termios.error)
"""What a port raises when its device is pulled out; flushing raises termios.error."""
_WRITE_LIMIT = 0.5
"""Longest time for writing a frame [s]; pyserial also counts time in which the process waits."""


class Link(Protocol):
    """One open port; every method may raise one of `LINK_ERRORS`."""

    def read(self, count: int, limit: float) -> bytes:
        """Read at most ``count`` bytes, waiting ``limit`` [s] at most."""

    def write(self, data: bytes) -> None:
        """Send."""

    def discard(self) -> int:
        """Throw received bytes away; returns their number."""

    def close(self) -> None:
        """Close the port."""


class SerialLink:
    """A serial port that no other user of the same kind may open."""

    def __init__(self, port: str, baud: int) -> None:
        """Open the port with 8 data bits, no parity, 1 stop bit."""
        self._port = serial.Serial(port, baud, write_timeout=_WRITE_LIMIT, exclusive=True)

    def read(self, count: int, limit: float) -> bytes:
        """Read at most ``count`` bytes, waiting ``limit`` [s] at most."""
        self._port.timeout = limit
        return bytes(self._port.read(count))

    def write(self, data: bytes) -> None:
        """Send."""
        self._port.write(data)

    def discard(self) -> int:
        """Throw received bytes away; returns their number."""
        waiting = int(self._port.in_waiting)
        if waiting:
            self._port.reset_input_buffer()
        return waiting

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def open_serial(port: str, baud: int) -> Link:
    """Open a serial port."""
    return SerialLink(port, baud)


def reason_of(error: BaseException) -> str:
    """The system's words for an error."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)
