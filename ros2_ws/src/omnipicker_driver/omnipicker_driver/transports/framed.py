"""Both sides of an adapter that wraps CAN frames into frames of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from omnipicker_driver.transports.scanner import FrameKind, FrameScanner

DATA = "data"
"""Name of the kinds of frame that carry a payload; other kinds are passed over."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How one adapter wraps."""

    data: Sequence[FrameKind]
    """Kinds of frame that the host may receive; those that carry a payload are named "data"."""
    setup: tuple[tuple[str, bytes], ...]
    """Name and bytes of the frames that prepare the adapter, in order."""
    wrap: Callable[[bytes, int], bytes]
    """Payload and id -> frame."""
    unwrap: Callable[[bytes], tuple[int, bytes]]
    """Data frame -> id and payload."""
    heartbeat: bytes = b""
    """What the adapter sends each second; empty: nothing."""


class FramedHost:
    """The host's side."""

    def __init__(self, framing: Framing, device_id: int) -> None:
        """Talk to the gripper with an id."""
        self.setup = tuple(frame for _, frame in framing.setup)
        self.strangers: set[int] = set()
        self._framing = framing
        self._id = device_id
        self._scanner = FrameScanner(framing.data)

    @property
    def dropped_bytes(self) -> int:
        """Bytes that belonged to no frame."""
        return self._scanner.dropped_bytes

    @property
    def missing(self) -> int:
        """Bytes to read before the next frame can be complete."""
        return self._scanner.missing

    def wrap(self, payload: bytes) -> bytes:
        """The frame of a command."""
        return self._framing.wrap(payload, self._id)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Reports of our gripper that became complete."""
        payloads = []
        for name, frame in self._scanner.feed(chunk):
            if name != DATA:
                continue
            sender, payload = self._framing.unwrap(frame)
            if sender == self._id:
                payloads.append(payload)
            else:
                self.strangers.add(sender)
        return payloads

    def clear(self) -> None:
        """Forget an unfinished frame."""
        self._scanner.clear()


class FramedAdapter:
    """The gripper's side: passes nothing before the host has prepared it."""

    def __init__(self, framing: Framing, device_id: int) -> None:
        """Be the gripper with an id."""
        self._framing = framing
        self._id = device_id
        setup = [
            FrameKind(name=name, start=frame, length=len(frame), is_whole=lambda _: True)
            for name, frame in framing.setup
        ]
        self._scanner = FrameScanner([*setup, *framing.data])
        self._awaited = {name for name, _ in framing.setup}
        self._beat_at = float("-inf")

    def feed(self, chunk: bytes, now: float) -> list[bytes]:
        """Commands to our gripper that became complete."""
        payloads = []
        for name, frame in self._scanner.feed(chunk):
            if name != DATA:
                self._awaited.discard(name)
                continue
            device, payload = self._framing.unwrap(frame)
            if device == self._id and not self._awaited:
                payloads.append(payload)
        return payloads

    def wrap(self, payload: bytes) -> bytes:
        """The frame of a report."""
        return self._framing.wrap(payload, self._id)

    def idle(self, now: float) -> bytes:
        """A heartbeat each second, where the adapter has one."""
        if now - self._beat_at < 1.0:
            return b""
        self._beat_at = now
        return self._framing.heartbeat

    def clear(self) -> None:
        """Start again, as after power-on."""
        self._scanner.clear()
        self._awaited = {name for name, _ in self._framing.setup}
