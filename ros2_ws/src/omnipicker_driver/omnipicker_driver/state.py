"""What is known about a gripper at one moment."""

import math
from dataclasses import dataclass, field

from omnipicker_driver.grasp import MARGIN, Grasp
from omnipicker_driver.plausibility import PUSHING, SPEED_MARGIN
from omnipicker_driver.protocol import FULL_SCALE, MAX_SPEED, Motion, Report

BRAKING_WAY = 9 / FULL_SCALE
"""Opening that the fingers pass while they brake from full speed [ratio]; an assumption."""
LONGEST_BLIND = 0.1
"""Age up to which the speed of a report tells how far the fingers went since [s]."""


@dataclass(frozen=True, kw_only=True)
class GripperState:
    """The newest knowledge about the gripper."""

    connected: bool = False
    """The port is open."""
    report: Report | None = None
    """Newest report that can be true; None before the first."""
    grasp: Grasp = field(default_factory=Grasp)
    """Whether an object is held."""
    doubt: str = ""
    """Why the newest report is not believed; empty when it is."""
    is_frozen: bool = False
    """Whether that is because the fingers do not move: another command may free them."""
    velocity: float = 0.0
    """Reported speed with the sign of the last change of position [ratio/s]."""
    stamp_ns: int = 0
    """Wall time at which ``report`` was received [ns]."""
    received: float = -math.inf
    """Monotonic time at which ``report`` was received [s]."""
    seen: float = -math.inf
    """Monotonic time at which the fingers were where ``report`` says [s]: a report that says they
    move, from where the one before was, may be frozen and tells nothing."""
    target: float | None = None
    """Opening that is repeated; None until the gripper has told its position."""
    error: str = ""
    """Why the port is closed; empty while it is open."""
    answers: int = 0
    """Reports received and believed."""
    doubted: int = 0
    """Reports that cannot be true."""
    unanswered: int = 0
    """Polls without a report."""
    openings: int = 0
    """Times the port was opened."""
    dropped_bytes: int = 0
    """Received bytes that belonged to no frame."""
    late_bytes: int = 0
    """Bytes that came when their poll was over, or twice."""
    echoes: int = 0
    """Commands that the adapter gave back as if the gripper had answered."""
    strangers: tuple[int, ...] = ()
    """Ids of other devices that answered on this line."""

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


def seen_at(report: Report, before: GripperState, now: float) -> float:
    """When the fingers were where a new report says [s]; see `GripperState.seen`."""
    last = before.report
    moves = report.motion == Motion.MOVING
    return before.seen if moves and last and last.position == report.position else now


def holding_target(state: GripperState, now: float, speed: float) -> float | None:
    """Opening at which the fingers come to rest; never wider than now, but for the braking way.

    Fingers that press on something go on pressing; a motor that only moves them has some force
    too. Others stop within the way they need, and a little closer: what they had just touched
    stays held. Where they may have closed unseen, they stop where they can be at most.

    Args:
        state: newest knowledge.
        now: present monotonic time [s].
        speed: share of the largest speed at which they are asked to move.
    """
    report, target = state.report, state.target
    if report is None or target is None:
        return target
    way = BRAKING_WAY * report.speed**2
    if target >= report.position:
        return min(target, report.position + way)
    presses = report.force >= PUSHING and report.speed == 0.0
    if report.motion == Motion.BLOCKED or presses:
        return target
    blind = max(now - state.seen, 0.0)
    is_new = blind <= LONGEST_BLIND and not state.doubt
    unseen = MAX_SPEED * (report.speed if is_new else SPEED_MARGIN * speed) * blind
    return max(target, report.position - unseen - way - MARGIN, 0.0)
