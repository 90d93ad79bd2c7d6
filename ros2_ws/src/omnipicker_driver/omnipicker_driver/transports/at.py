"""USB-CAN adapter in transparent mode: ``AT+ET`` once, then the bare 8 bytes both ways.

There is neither a checksum nor an id: the report is the last 8 bytes that came, and only the
plausibility check stands behind it.
"""

from omnipicker_driver.protocol import PAYLOAD_LENGTH
from omnipicker_driver.transports.interface import TransportKind

ENTER_TRANSPARENT = b"AT+ET\r\n"
"""Command to the adapter: pass all bytes from now on."""
ACKNOWLEDGED = b"OK\r\n"
"""What the emulated adapter answers; the driver throws it away."""
_PAUSE = 0.005
"""Silence that ends a command [s]: the adapter sends what it has as one frame."""


class Transparent:
    """The host's side."""

    setup: tuple[bytes, ...] = (ENTER_TRANSPARENT,)

    def __init__(self, device_id: int) -> None:
        """Talk to the one gripper behind the adapter; it needs no id."""
        self._buffer = b""
        self.dropped_bytes = 0
        self.strangers: set[int] = set()

    @property
    def missing(self) -> int:
        """Bytes to read before a report can be complete."""
        return max(PAYLOAD_LENGTH - len(self._buffer), 1)

    def wrap(self, payload: bytes) -> bytes:
        """The payload itself."""
        return payload

    def feed(self, chunk: bytes) -> list[bytes]:
        """The last 8 bytes, as soon as there are 8."""
        self._buffer += chunk
        if len(self._buffer) < PAYLOAD_LENGTH:
            return []
        payload = self._buffer[-PAYLOAD_LENGTH:]
        self.dropped_bytes += len(self._buffer) - PAYLOAD_LENGTH
        self._buffer = b""
        return [payload]

    def clear(self) -> None:
        """Forget an unfinished report."""
        self.dropped_bytes += len(self._buffer)
        self._buffer = b""


class TransparentAdapter:
    """The gripper's side: passes commands only after it was told to."""

    def __init__(self, device_id: int) -> None:
        """Be the gripper behind the adapter."""
        self._buffer = b""
        self._heard = float("-inf")
        self._is_open = False
        self._reply = b""

    def feed(self, chunk: bytes, now: float) -> list[bytes]:
        """Groups of 8 bytes that came without a pause."""
        if now - self._heard > _PAUSE:
            self._buffer = b""
        self._heard = now
        self._buffer += chunk
        begin = self._buffer.find(ENTER_TRANSPARENT)
        if begin >= 0:
            self._buffer = self._buffer[begin + len(ENTER_TRANSPARENT) :]
            self._is_open, self._reply = True, ACKNOWLEDGED
        if not self._is_open:
            self._buffer = self._buffer[-len(ENTER_TRANSPARENT) :]
            return []
        payloads = []
        while len(self._buffer) >= PAYLOAD_LENGTH:
            payloads.append(self._buffer[:PAYLOAD_LENGTH])
            self._buffer = self._buffer[PAYLOAD_LENGTH:]
        return payloads

    def wrap(self, payload: bytes) -> bytes:
        """The payload itself."""
        return payload

    def idle(self, now: float) -> bytes:
        """The acknowledgement of the set-up."""
        reply, self._reply = self._reply, b""
        return reply

    def clear(self) -> None:
        """Start again, as after power-on."""
        self._buffer, self._is_open, self._reply = b"", False, b""


KIND = TransportKind(host=Transparent, adapter=TransparentAdapter, baud=115200)
