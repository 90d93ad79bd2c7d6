"""Whether an object is in the gripper, from its reports: found, held, lost or let go."""

from dataclasses import dataclass
from enum import StrEnum

from omnipicker_driver.protocol import FULL_SCALE, Motion, Report

SETTLE_TIME = 0.06
"""Time the fingers must be blocked to count as holding [s]: they also push when they start."""
LEAST_FORCE = 0.02
"""Share of the largest force below which blocked fingers hold nothing."""
MARGIN = 4 / FULL_SCALE
"""Distance between target and fingers that counts [ratio]."""


class ObjectState(StrEnum):
    """What is between the fingers."""

    NONE = "none"  # nothing is known to be held
    HELD = "held"  # the fingers are blocked before their target and press
    LOST = "lost"  # it was held, and it is gone although nobody opened the gripper


@dataclass(frozen=True, kw_only=True)
class Grasp:
    """The object, as far as the gripper feels it."""

    object: ObjectState = ObjectState.NONE
    """Whether there is one."""
    opening: float = 0.0
    """Opening at which it was held last [ratio]."""
    force: float = 0.0
    """Share of the largest force that presses on it."""

    @property
    def holding(self) -> bool:
        """Whether an object is held now."""
        return self.object is ObjectState.HELD


class GraspWatch:
    """Follows the reports of one gripper."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._grasp = Grasp()
        self._pressing_since: float | None = None

    def take(self, report: Report, target: float | None, now: float) -> Grasp:
        """Judge a new report.

        Args:
            report: what the gripper says.
            target: opening it was asked for; None: not known, blocked fingers are believed.
            now: present monotonic time [s].
        """
        closing = target is None or target < report.position - MARGIN
        pressing = report.motion == Motion.BLOCKED and closing and report.force >= LEAST_FORCE
        before = self._grasp
        if pressing:
            if self._pressing_since is None:
                self._pressing_since = now
            if before.holding or now - self._pressing_since >= SETTLE_TIME:
                self._grasp = Grasp(
                    object=ObjectState.HELD, opening=report.position, force=report.force
                )
            return self._grasp
        self._pressing_since = None
        opened = target is not None and target > before.opening + MARGIN
        if opened:
            self._grasp = Grasp()
        elif report.motion == Motion.LOST_OBJECT or (
            before.holding and report.position < before.opening - MARGIN
        ):
            self._grasp = Grasp(object=ObjectState.LOST, opening=before.opening)
        elif before.holding and not closing:
            self._grasp = Grasp()  # the target moved to where the fingers are
        return self._grasp

    def clear(self) -> None:
        """Forget everything; after a new link."""
        self._grasp = Grasp()
        self._pressing_since = None
