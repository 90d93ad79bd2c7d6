"""Faults of the line between an emulated gripper and its driver."""

from typing import Literal, get_args

from ate_core.errors import UsageError

LineFault = Literal["no_answer", "wrong_checksum", "lost_byte", "doubled_reply"]


class LineFaults:
    """Which replies are spoilt, and how."""

    def __init__(self) -> None:
        self._kind: LineFault | None = None
        self._left: int | None = None

    def set(self, kind: str, count: int | None = None) -> None:
        """Spoil the next ``count`` replies, or all of them until `clear` when it is None.

        Raises:
            UsageError: no such fault, or a count below 1.
        """
        if kind not in get_args(LineFault):
            raise UsageError(f"line fault {kind!r}; need one of {', '.join(get_args(LineFault))}")
        if count is not None and count < 1:
            raise UsageError(f"line fault count is {count}; need at least 1, or none for always")
        self._kind, self._left = kind, count  # type: ignore[assignment]

    def clear(self) -> None:
        """Let all replies pass."""
        self._kind, self._left = None, None

    def spoil(self, frame: bytes) -> bytes:
        """What arrives of one reply."""
        kind = self._kind
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.clear()
        if kind == "no_answer":
            return b""
        if kind == "wrong_checksum":
            return frame[:-1] + bytes([frame[-1] ^ 0x55])
        if kind == "lost_byte":
            return frame[:5] + frame[6:]
        if kind == "doubled_reply":
            return frame + frame
        return frame
