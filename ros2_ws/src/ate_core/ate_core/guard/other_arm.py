"""Where the other arm will be: from its measured posture, how old that is, and how it brakes."""

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ate_core.arm_model import load_arm_model
from ate_core.contract import Cell
from ate_core.gripper_shapes import load_gripper
from ate_core.guard.shapes import levers
from ate_core.motion_profile import Motion, rest

SERVO_LAG = 0.04
"""How far an arm's set point is ahead of its measured joints [s] (22 to 42 ms in the simulated
cell; the RM75's follow mode is of the same size)."""
FAR = 100.0
"""Further than any arm reaches: what one that was never seen may have moved [m]."""
SHORTEST_INTERVAL = 0.004
"""Postures closer in time give no velocity [s]."""
LOOK_BACK = 0.05
"""Time over which told velocities give an acceleration [s]: messages come some milliseconds early
or late."""
SHORTEST_LOOK = 0.008
"""Time over which they give none [s]."""


class _Seen(NamedTuple):
    posture: list[float]
    velocity: list[float]
    acceleration: list[float]
    received: float
    is_moving: bool
    is_known: bool


class OtherState(NamedTuple):
    """What may be assumed of the other arm now."""

    posture: list[float]
    """Joints as last measured (n,) [rad]."""
    rest: list[float]
    """Where it comes to rest if it brakes now, within acceleration and jerk (n,) [rad]."""
    age: float
    """Age of the measurement [s]; infinite when there is none."""
    growth: float
    """How far any of its points may have gone from there since it fell silent [m]."""

    is_moving: bool
    """Whether it comes to rest elsewhere."""
    motions: list[Motion]
    """What it is told now, of each joint (n); empty where it does not move."""
    turns: list[float]
    """How far each joint gets at most from ``posture`` until it rests (n,) [rad]."""

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
        self._acceleration, self._jerk = safety.max_joint_acceleration, safety.max_joint_jerk
        self._timeout = safety.feedback_timeout
        self._speed = [min(float(speed), safety.max_joint_speed) for speed in arm.joint_speed]
        reach = float(levers(chain, load_gripper(cell.guard.gripper))[0])
        self._point_speed = max(self._speed) * reach
        self._home = [float(angle) for angle in arm.home]
        self._still = [0.0] * len(self._home)
        self._told: deque[tuple[float, list[float]]] = deque()
        self._seen: _Seen | None = None

    def see(self, posture: ArrayLike, received: float, velocity: ArrayLike | None) -> None:
        """Take a measurement; one that is not finite or of another size is not one.

        A velocity that is none, or none that can be believed, is taken from the posture before;
        without one the arm may move as it can. Accelerations come from told velocities alone.
        """
        q = _numbers(posture)
        if len(q) != len(self._home) or not all(map(math.isfinite, q)):
            return
        qd = None if velocity is None else _numbers(velocity)
        if qd is None or len(qd) != len(q) or not all(map(math.isfinite, qd)):
            qd, acceleration = self._difference(q, received), self._still
            self._told.clear()
        else:
            acceleration = self._change(qd, received)
        is_known, qd = qd is not None, qd or self._still
        is_moving = any(qd) or any(acceleration)
        if is_moving:
            qd = [min(max(v, -top), top) for v, top in zip(qd, self._speed, strict=True)]
        self._seen = _Seen(q, qd, acceleration, received, is_moving, is_known)

    def _change(self, qd: list[float], received: float) -> list[float]:
        """Acceleration (n,) [rad/s2] that told velocities had of late."""
        told = self._told
        if told and not 0.0 <= received - told[-1][0] <= self._timeout:
            told.clear()
        told.append((received, qd))
        while len(told) > 2 and told[1][0] <= received - LOOK_BACK:
            told.popleft()
        before, start = told[0]
        passed = received - before
        if qd == start or passed < SHORTEST_LOOK:
            return self._still
        most = self._acceleration
        return [min(max((b - a) / passed, -most), most) for a, b in zip(start, qd, strict=True)]

    def _difference(self, q: list[float], received: float) -> list[float] | None:
        """Velocity (n,) [rad/s] since the posture before; None where there is none of late."""
        before = self._seen
        passed = math.inf if before is None else received - before.received
        if before is None or not 0.0 <= passed <= self._timeout:
            return None
        if passed < SHORTEST_INTERVAL:
            return before.velocity if before.is_known else None
        return [(b - a) / passed for a, b in zip(before.posture, q, strict=True)]

    def at(self, now: float) -> OtherState:
        """What may be assumed at ``now`` [s]."""
        seen = self._seen
        if seen is None:
            return OtherState(
                posture=self._home,
                rest=self._home,
                age=np.inf,
                growth=FAR,
                is_moving=False,
                motions=[],
                turns=self._still,
            )
        age = max(now - seen.received, 0.0)
        ends, turns, motions = seen.posture, self._still, []
        if seen.is_moving:
            motions = self._carried(seen, min(age, self._timeout) + SERVO_LAG)
            rests = [rest(motion, self._acceleration, self._jerk) for motion in motions]
            ends = [end for end, _, _ in rests]
            turns = [
                max(abs(low - q), abs(high - q))
                for q, (_, low, high) in zip(seen.posture, rests, strict=True)
            ]
        silence = age - self._timeout if seen.is_known else age + SERVO_LAG
        growth = self._point_speed * min(max(silence, 0.0), FAR)
        return OtherState(
            posture=seen.posture,
            rest=ends,
            age=age,
            growth=growth,
            is_moving=seen.is_moving,
            motions=motions,
            turns=turns,
        )

    def _carried(self, seen: _Seen, ahead: float) -> list[Motion]:
        """Motions some time later [s].

        A joint that speeds up is taken to go on so. Of braking counts only what must be left even
        if it has been taken back since it was seen.
        """
        taken_back, motions = self._jerk * ahead, []
        for q, v, a, top in zip(
            seen.posture, seen.velocity, seen.acceleration, self._speed, strict=True
        ):
            if a * v < 0.0:
                a = math.copysign(max(abs(a) - taken_back, 0.0), a)
            speed = min(max(v + ahead * a, -top), top)
            motions.append((q + ahead * (v + 0.5 * ahead * a), speed, a))
        return motions


def _numbers(values: ArrayLike) -> list[float]:
    """Plain numbers of one row; none when it is not one."""
    row = np.asarray(values, dtype=np.float64)
    numbers: list[float] = row.tolist() if row.ndim == 1 else []
    return numbers
