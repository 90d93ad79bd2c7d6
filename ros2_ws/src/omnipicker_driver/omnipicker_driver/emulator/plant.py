"""What moves behind the protocol of an emulated gripper."""

from typing import Protocol

from omnipicker_driver.emulator.drive import TOP_SPEED, Drive
from omnipicker_driver.protocol import FULL_SCALE, Command, Fault, Motion, Report

ARRIVED = 2.0
"""Distance to the target within which the gripper reports "reached" [counts]."""


TORQUE = 0.06
"""Share of the largest force that the motor needs to move the fingers at full speed; assumed."""


class GripperPlant(Protocol):
    """The body of a gripper; ``now`` is monotonic time [s] and never goes back."""

    def command(self, command: Command, now: float) -> None:
        """Follow a new command."""

    def advance(self, now: float) -> None:
        """Bring the motion up to ``now``."""

    def report(self) -> Report | None:
        """The state to report, without faults; None while the gripper is without power."""

    def set_fault(self, fault: int) -> None:
        """Switch a fault on (it stops the fingers) or off with 0."""

    def set_object(self, width: float | None) -> None:
        """Put an object of this width (opening ratio) between the fingers, or take it away.

        Raises:
            UsageError: the objects of this plant are elsewhere.
        """


class IdealPlant:
    """A gripper of its own, with at most one rigid object between its fingers."""

    def __init__(self, position: float = 1.0) -> None:
        """Start at rest at an opening ratio."""
        self._drive = Drive(position=position * FULL_SCALE)
        self._command: Command | None = None
        self._object: float | None = None
        self._blocked = False
        self._lost_object = False
        self._fault = int(Fault.NONE)
        self._advanced_to: float | None = None

    def command(self, command: Command, now: float) -> None:
        """Follow a new command; an opening target forgets a lost object."""
        self.advance(now)
        self._command = command

    def advance(self, now: float) -> None:
        """Move the fingers up to ``now`` [s]."""
        dt = 0.0 if self._advanced_to is None else now - self._advanced_to
        self._advanced_to = now
        if self._command is None:
            return
        if self._fault:
            self._drive = Drive(position=self._drive.position)
            return
        stop_at = 0.0 if self._object is None else min(self._object, self._drive.position)
        self._drive = self._drive.advanced(self._command, dt, stop_at)
        self._blocked = (
            self._object is not None
            and self._drive.position <= self._object
            and self._command.position * FULL_SCALE < self._drive.position - ARRIVED
        )

    def report(self) -> Report:
        """Position, speed and force; "lost object" is said once."""
        speed = abs(self._drive.velocity) / TOP_SPEED
        force = self._command.force if self._blocked and self._command else TORQUE * speed
        return Report(
            position=self._drive.position / FULL_SCALE,
            speed=speed,
            force=force,
            fault=self._fault,
            motion=self._motion(),
        )

    def set_fault(self, fault: int) -> None:
        """Switch a fault on or off."""
        self._fault = fault

    def set_object(self, width: float | None) -> None:
        """Put an object between the fingers or take it away."""
        if width is None and self._blocked:
            self._lost_object, self._blocked = True, False
        self._object = None if width is None else width * FULL_SCALE

    def _motion(self) -> Motion:
        if self._lost_object:
            self._lost_object = False
            return Motion.LOST_OBJECT
        if self._blocked:
            return Motion.BLOCKED
        if self._command is None:
            return Motion.REACHED
        distance = abs(self._command.position * FULL_SCALE - self._drive.position)
        return Motion.REACHED if distance <= ARRIVED else Motion.MOVING
