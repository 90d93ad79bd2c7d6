"""RS485 frames of the OmniPicker; the only home of its 0..255 units.

A frame is 12 bytes in both directions: ``41 41 id payload(8) checksum``, where the checksum is
the low byte of NOT(sum of the bytes from id to the end of the payload). The gripper answers
every command with one report and never speaks by itself.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from ate_core.errors import UsageError

FRAME_LENGTH = 12
PAYLOAD_LENGTH = 8
FULL_SCALE = 255
MAX_SPEED = 364 / FULL_SCALE
"""Speed at velocity byte 255 [opening ratio/s]: full travel in about 0.7 s (product data)."""
MAX_FORCE = 30.0
"""Largest grip force [N] (product data); the report is motor torque, not a force sensor."""

_START = b"\x41\x41"
_ID = 2
_CHECKSUM = 11

FieldOrder = Literal["force_velocity", "velocity_force"]
"""Order of command bytes 2 and 3. Public sources disagree; most say force first."""


class Fault(IntEnum):
    """Byte 0 of a report."""

    NONE = 0
    TOO_HOT = 1
    TOO_FAST = 2
    INITIALISATION_FAILED = 3
    LIMIT_PASSED = 4


class Motion(IntEnum):
    """Byte 1 of a report."""

    REACHED = 0
    MOVING = 1
    BLOCKED = 2
    LOST_OBJECT = 3


@dataclass(frozen=True, kw_only=True)
class Command:
    """What the gripper is asked for; all values are shares 0..1 of the largest."""

    position: float
    """Opening, 0 closed, 1 open."""
    force: float = 1.0
    """Motor torque limit."""
    speed: float = 1.0
    """Finger speed."""
    acceleration: float = 1.0
    """Sent as 1 at least: some firmware refuses 0."""
    deceleration: float = 1.0
    """Sent as 1 at least: some firmware refuses 0."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the gripper says about itself; all values are shares 0..1 of the largest."""

    position: float
    """Opening, 0 closed, 1 open."""
    speed: float = 0.0
    """Finger speed, without sign."""
    force: float = 0.0
    """Motor torque."""
    fault: int = Fault.NONE
    """Fault code; unknown codes are kept."""
    motion: int = Motion.REACHED
    """State of the motion; unknown codes are kept."""


def to_byte(share: float) -> int:
    """Scale a share to 0..255, clamped."""
    return round(min(max(share, 0.0), 1.0) * FULL_SCALE)


def encode_command(command: Command, order: FieldOrder = "force_velocity") -> bytes:
    """Payload (8 bytes) of a command."""
    middle = [to_byte(command.force), to_byte(command.speed)]
    if order == "velocity_force":
        middle.reverse()
    ramps = [max(to_byte(command.acceleration), 1), max(to_byte(command.deceleration), 1)]
    return bytes([0, to_byte(command.position), *middle, *ramps, 0, 0])


def decode_command(payload: bytes, order: FieldOrder = "force_velocity") -> Command:
    """The command in a payload (8 bytes), as a gripper reads it."""
    force, speed = payload[2], payload[3]
    if order == "velocity_force":
        force, speed = speed, force
    return Command(
        position=payload[1] / FULL_SCALE,
        force=force / FULL_SCALE,
        speed=speed / FULL_SCALE,
        acceleration=payload[4] / FULL_SCALE,
        deceleration=payload[5] / FULL_SCALE,
    )


def encode_report(report: Report) -> bytes:
    """Payload (8 bytes) of a report; its order is velocity before force."""
    values = [to_byte(report.position), to_byte(report.speed), to_byte(report.force)]
    return bytes([report.fault & 0xFF, report.motion & 0xFF, *values, 0, 0, 0])


def decode_report(payload: bytes) -> Report:
    """The report in a payload (8 bytes)."""
    return Report(
        fault=payload[0],
        motion=payload[1],
        position=payload[2] / FULL_SCALE,
        speed=payload[3] / FULL_SCALE,
        force=payload[4] / FULL_SCALE,
    )


def checksum(body: bytes) -> int:
    """Low byte of NOT(sum); ``body`` runs from the id to the end of the payload."""
    return ~sum(body) & 0xFF


def wrap(payload: bytes, device_id: int) -> bytes:
    """The frame (12 bytes) around a payload (8 bytes).

    Raises:
        UsageError: the payload has another length.
    """
    if len(payload) != PAYLOAD_LENGTH:
        raise UsageError(f"gripper payload has {len(payload)} bytes; need {PAYLOAD_LENGTH}")
    body = bytes([device_id]) + payload
    return _START + body + bytes([checksum(body)])


class FrameReader:
    """Find frames of one device in a byte stream.

    A frame is recognised by its checksum, not by its start alone: position 65 with velocity 65
    spells the start bytes too. What does not fit costs one byte, then the search goes on.
    """

    def __init__(self, device_id: int) -> None:
        """Read frames of ``device_id``; frames of other devices are skipped."""
        self._device_id = device_id
        self._buffer = bytearray()
        self.dropped_bytes = 0
        """Bytes that belonged to no frame of this device."""
        self.strangers: set[int] = set()
        """Ids of other devices whose frames were seen."""

    @property
    def missing(self) -> int:
        """Bytes to read before the next frame can be complete."""
        return max(FRAME_LENGTH - len(self._buffer), 1)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take received bytes and return the payloads (8 bytes each) that became complete."""
        self._buffer += chunk
        payloads = []
        while len(self._buffer) >= FRAME_LENGTH:
            frame = bytes(self._buffer[:FRAME_LENGTH])
            if self._is_frame(frame):
                payloads.append(frame[_ID + 1 : _CHECKSUM])
                del self._buffer[:FRAME_LENGTH]
            else:
                del self._buffer[0]
                self.dropped_bytes += 1
        return payloads

    def clear(self) -> None:
        """Forget an unfinished frame."""
        self.dropped_bytes += len(self._buffer)
        self._buffer.clear()

    def _is_frame(self, frame: bytes) -> bool:
        if not frame.startswith(_START) or frame[_CHECKSUM] != checksum(frame[_ID:_CHECKSUM]):
            return False
        if frame[_ID] != self._device_id:
            self.strangers.add(frame[_ID])
            return False
        return True
