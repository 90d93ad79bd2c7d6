"""Frames of known start and length in a byte stream; what does not fit costs one byte."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FrameKind:
    """One kind of frame."""

    name: str
    """What it is."""
    start: bytes
    """Its first bytes."""
    length: int
    """Its length with the start [bytes]."""
    is_whole: Callable[[bytes], bool]
    """Whether bytes of this start and length are such a frame."""


class FrameScanner:
    """Finds frames of several kinds; survives any bytes."""

    def __init__(self, kinds: Sequence[FrameKind]) -> None:
        """Look for frames of these kinds; where two fit, the first one counts."""
        self._kinds = kinds
        self._buffer = bytearray()
        self.dropped_bytes = 0
        """Bytes that belonged to no frame."""

    @property
    def missing(self) -> int:
        """Bytes to read before the shortest frame that can have begun is complete."""
        lengths = [kind.length for kind in self._kinds if self._may_be(kind)]
        return max(min(lengths, default=0) - len(self._buffer), 1)

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """Take received bytes and return the frames, with their kinds, that became complete."""
        self._buffer += chunk
        found = []
        while self._buffer:
            frame = self._whole()
            if frame is not None:
                found.append(frame)
                del self._buffer[: len(frame[1])]
            elif any(self._may_be(kind) for kind in self._kinds):
                break
            else:
                del self._buffer[0]
                self.dropped_bytes += 1
        return found

    def clear(self) -> None:
        """Forget an unfinished frame."""
        self.dropped_bytes += len(self._buffer)
        self._buffer.clear()

    def _whole(self) -> tuple[str, bytes] | None:
        for kind in self._kinds:
            frame = bytes(self._buffer[: kind.length])
            if len(frame) == kind.length and frame.startswith(kind.start) and kind.is_whole(frame):
                return kind.name, frame
        return None

    def _may_be(self, kind: FrameKind) -> bool:
        """Whether the buffer can be the beginning of a frame that is not complete yet."""
        count = min(len(kind.start), len(self._buffer))
        return len(self._buffer) < kind.length and self._buffer[:count] == kind.start[:count]
