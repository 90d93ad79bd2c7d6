"""Where the other arm will be: from its measured posture, how old that is, and how it brakes."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.arm_model import load_arm_model
from ate_core.contract import Cell
from ate_core.guard.shapes import levers, load_gripper

Array = NDArray[np.float64]

SERVO_LAG = 0.04
"""How far an arm's set point is ahead of its measured joints [s] (22 to 42 ms in the simulated
cell; the RM75's follow mode is of the same size)."""
FAR = 100.0
"""Further than any arm reaches: what one that was never seen may have moved [m]."""
SHORTEST_INTERVAL = 0.004
"""Postures closer in time give no velocity [s]."""


class _Seen(NamedTuple):
    posture: Array
    velocity: Array
    brake: Array
    received: float
    is_moving: bool


class OtherState(NamedTuple):
    """What may be assumed of the other arm now."""

    posture: Array
    """Joints as last measured (n,) [rad]."""
    rest: Array
    """Where it comes to rest if it brakes now (n,) [rad]."""
    age: float
    """Age of the measurement [s]; infinite when there is none."""
    growth: float
    """How far any of its points may have gone from there since it fell silent [m]."""

    is_moving: bool
    """Whether it comes to rest elsewhere."""

    @property
    def is_stale(self) -> bool:
        """Whether it may be anywhere it can reach."""
        return self.growth > 0.0


class OtherArm:
    """Collects the other arm's measured joints; `see` may be called from another thread."""

    def __init__(self, cell: Cell, side: str) -> None:
        """Prepare.

        Args:
            cell: its safety limits are kept by the other arm's filter as by this one's.
            side: which arm that is.
        """
        arm, safety = cell.arms[side], cell.safety
        chain = load_arm_model(arm.model).chain()
        self._acceleration = safety.max_joint_acceleration
        self._timeout = safety.feedback_timeout
        self._speed = np.minimum(arm.joint_speed, safety.max_joint_speed)
        reach = float(levers(chain, load_gripper(cell.guard.gripper))[0])
        self._point_speed = float(np.max(self._speed)) * reach
        self._home = np.asarray(arm.home, dtype=np.float64)
        self._seen: _Seen | None = None

    def see(self, posture: ArrayLike, received: float, velocity: ArrayLike | None) -> None:
        """Take a measurement; one that is not finite or of another size is not one."""
        q = np.array(posture, dtype=np.float64)
        if q.shape != self._home.shape or not _is_finite(q):
            return
        before = self._seen
        if velocity is not None:
            qd = np.array(velocity, dtype=np.float64)
        elif before is None or received - before.received > self._timeout:
            qd = np.zeros_like(q)
        elif received - before.received < SHORTEST_INTERVAL:
            qd = before.velocity
        else:
            qd = (q - before.posture) / (received - before.received)
        if qd.shape != q.shape or not _is_finite(qd):
            qd = np.zeros_like(q)
        brake, is_moving = qd, any(qd.tolist())
        if is_moving:
            qd = np.minimum(np.maximum(qd, -self._speed), self._speed)
            brake = qd * np.abs(qd) / (2.0 * self._acceleration)
        self._seen = _Seen(q, qd, brake, received, is_moving)

    def at(self, now: float) -> OtherState:
        """What may be assumed at ``now`` [s]."""
        seen = self._seen
        if seen is None:
            return OtherState(
                posture=self._home, rest=self._home, age=np.inf, growth=FAR, is_moving=False
            )
        age = max(now - seen.received, 0.0)
        ahead = min(age, self._timeout) + SERVO_LAG
        rest = seen.posture
        if seen.is_moving:
            rest = seen.posture + seen.velocity * ahead + seen.brake
        growth = self._point_speed * min(max(age - self._timeout, 0.0), FAR)
        return OtherState(
            posture=seen.posture, rest=rest, age=age, growth=growth, is_moving=seen.is_moving
        )


def _is_finite(numbers: Array) -> bool:
    return all(map(math.isfinite, numbers.tolist()))
