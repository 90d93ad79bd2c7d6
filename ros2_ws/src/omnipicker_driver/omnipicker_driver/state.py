"""What is known about a gripper at one moment."""

import math
from dataclasses import dataclass

from omnipicker_driver.protocol import MAX_SPEED, Report


@dataclass(frozen=True, kw_only=True)
class GripperState:
    """The newest knowledge about the gripper."""

    connected: bool = False
    """The port is open."""
    report: Report | None = None
    """Newest report; None before the first."""
    velocity: float = 0.0
    """Reported speed with the sign of the last change of position [ratio/s]."""
    stamp_ns: int = 0
    """Wall time at which the report was received [ns]."""
    received: float = -math.inf
    """Monotonic time at which the report was received [s]."""
    target: float | None = None
    """Opening that is repeated; None until the gripper has told its position."""
    error: str = ""
    """Why the port is closed; empty while it is open."""
    answers: int = 0
    """Reports received."""
    unanswered: int = 0
    """Polls without a report."""
    openings: int = 0
    """Times the port was opened."""
    dropped_bytes: int = 0
    """Received bytes that belonged to no frame."""

    def age(self, now: float) -> float:
        """Age of the report [s] at ``now`` (monotonic); infinite before the first."""
        return now - self.received

    def fresh(self, now: float, limit: float) -> bool:
        """Whether the report describes the gripper as it is now."""
        return self.connected and self.age(now) <= limit


def signed_speed(report: Report, before: GripperState) -> float:
    """Speed of a new report with the sign of the motion since the last one [ratio/s]."""
    speed = report.speed * MAX_SPEED
    if speed == 0.0 or before.report is None:
        return 0.0
    change = report.position - before.report.position
    if change == 0.0:
        change = before.velocity
    return math.copysign(speed, change) if change else 0.0
