"""RS485 behind a USB-serial adapter: 12 bytes with start, id and checksum in both directions."""

from omnipicker_driver.protocol import FrameReader, wrap
from omnipicker_driver.transports.interface import TransportKind


class Rs485(FrameReader):
    """The host's side."""

    setup: tuple[bytes, ...] = ()

    def __init__(self, device_id: int) -> None:
        """Talk to the gripper with an id."""
        super().__init__(device_id)
        self._id = device_id

    def wrap(self, payload: bytes) -> bytes:
        """The frame (12 bytes) of a command."""
        return wrap(payload, self._id)


class Rs485Adapter:
    """The gripper's side; a USB-serial adapter passes all bytes."""

    def __init__(self, device_id: int) -> None:
        """Be the gripper with an id."""
        self._id = device_id
        self._reader = FrameReader(device_id)

    def feed(self, chunk: bytes, now: float) -> list[bytes]:
        """Commands that became complete."""
        return self._reader.feed(chunk)

    def wrap(self, payload: bytes) -> bytes:
        """The frame (12 bytes) of a report."""
        return wrap(payload, self._id)

    def idle(self, now: float) -> bytes:
        """Nothing: it never speaks by itself."""
        return b""

    def clear(self) -> None:
        """Forget an unfinished frame."""
        self._reader.clear()


KIND = TransportKind(host=Rs485, adapter=Rs485Adapter)
