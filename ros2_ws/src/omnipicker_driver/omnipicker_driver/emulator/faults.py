"""Faults of the line between an emulated gripper and its driver."""

from dataclasses import replace
from typing import Literal, get_args

from ate_core.errors import UsageError
from omnipicker_driver.protocol import Report

LineFault = Literal[
    "no_answer", "wrong_checksum", "lost_byte", "doubled_reply", "late_reply", "other_id", "noise",
    "frozen", "jump", "unknown_state",
]  # fmt: skip
"""What goes wrong with a reply; the last three with the report in it."""
LATE = 0.016
"""Delay of a late reply [s]: longer than a driver waits, but before its next poll."""
_NOISE = bytes.fromhex("00 41 41 01 ff 5a aa 41")
"""Bytes that look like the beginning of frames."""


class LineFaults:
    """Which replies are spoilt, and how."""

    def __init__(self) -> None:
        self._kind: LineFault | None = None
        self._left: int | None = None
        self._frozen: Report | None = None
        self._odd = False

    @property
    def delay(self) -> float:
        """How much later the next reply comes [s]."""
        return LATE if self._kind == "late_reply" else 0.0

    @property
    def is_other_id(self) -> bool:
        """Whether the next reply is signed by another device."""
        return self._kind == "other_id"

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
        self._kind, self._left, self._frozen = None, None, None

    def spoil_report(self, report: Report) -> Report:
        """What the gripper says of itself in the next reply; call `spoil` for its bytes."""
        if self._kind == "frozen":
            self._frozen = self._frozen or report
            return self._frozen
        if self._kind == "jump":
            self._odd = not self._odd
            away = 0.9 if report.position < 0.5 else 0.1
            return replace(report, position=away) if self._odd else report
        if self._kind == "unknown_state":
            return replace(report, motion=77)
        return report

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
        if kind == "noise":
            return _NOISE + frame
        return frame
