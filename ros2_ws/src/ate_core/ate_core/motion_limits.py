"""Joint motion within position, speed, acceleration and jerk, one step at a time.

The set point is a motion in continuous time that the steps sample. At every moment there is a way
to rest (`ate_core.motion_profile.rest`) within the position limits, and a step is taken only to a
motion of which this is true again: braking is always possible, whenever it has to begin and
however long the steps are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.motion_profile import Motion, Rest, rest, toward

Array = NDArray[np.float64]

CLOSING = 0.15
"""Share of the jerk that closing in on a point counts on: to take up speed needs some, too, and
with more of it the joint runs over the mark."""
HALVINGS = 10
"""How finely the largest safe velocity before a position limit is sought."""


@dataclass(frozen=True, kw_only=True)
class MotionLimits:
    """What the joints of one arm are allowed."""

    lower: Sequence[float]
    """Lower bounds (n,) [rad]."""
    upper: Sequence[float]
    """Upper bounds (n,) [rad]."""
    speed: Sequence[float]
    """Largest speeds (n,) [rad/s]."""
    acceleration: float
    """Largest acceleration [rad/s2]."""
    jerk: float
    """Largest jerk [rad/s3]."""

    def closing_speed(self, distance: float, dt: float) -> float:
        """Speed at which a joint closes in on a point.

        A joint that begins to brake from v takes the distance v^1.5 / J^0.5, or, when it comes to
        the largest acceleration A, v^2 / (2 A) + v A / (2 J).

        Args:
            distance: distance to the point, not negative [rad].
            dt: length of the step [s].
        """
        a, jerk = self.acceleration, CLOSING * self.jerk
        if distance * jerk * jerk <= a * a * a:
            speed = float((distance * distance * jerk) ** (1.0 / 3.0))
        else:
            ramp = a * a / (2.0 * jerk)
            speed = float((ramp * ramp + 2.0 * a * distance) ** 0.5) - ramp
        return speed if speed * dt < distance else distance / dt

    def follow(self, joint: int, q: float, path: float, path_velocity: float, dt: float) -> float:
        """Velocity of a joint [rad/s] that closes in on a moving point and then goes with it.

        Args:
            joint: number of the joint, from 0.
            q: its position [rad].
            path: point of the path now [rad].
            path_velocity: velocity of the path [rad/s].
            dt: length of the coming step [s].
        """
        lag, speed = path - q, self.speed[joint]
        closing = self.closing_speed(lag, dt) if lag > 0.0 else -self.closing_speed(-lag, dt)
        velocity = min(max(path_velocity, -speed), speed) + closing
        if velocity > speed:
            return speed
        return velocity if velocity > -speed else -speed

    def step(
        self, motion: Motion, now: Rest, w: float, dt: float, lower: float, upper: float
    ) -> tuple[Motion, Rest]:
        """Motion of a joint one step later, and its way to rest, aiming for a velocity.

        Of the velocities up to the wanted one it takes the largest after which braking still ends
        within the bounds. A joint beyond them stays or comes back: it never goes further out.

        Args:
            motion: motion now.
            now: its way to rest.
            w: velocity to aim for, within the joint's speed [rad/s].
            dt: length of the step [s].
            lower: smallest position allowed [rad].
            upper: largest position allowed [rad].
        """
        a, jerk = self.acceleration, self.jerk
        new = toward(motion, w, dt, a, jerk)
        after = rest(new, a, jerk)
        if w == 0.0 or (lower <= after[1] and after[2] <= upper):
            return new, after
        lowest, highest = min(lower, now[1]), max(upper, now[2])
        if lowest <= after[1] and after[2] <= highest:
            return new, after
        safe = toward(motion, 0.0, dt, a, jerk)
        safe_after, share, width = rest(safe, a, jerk), 0.0, 1.0
        for _ in range(HALVINGS):
            width /= 2.0
            new = toward(motion, w * (share + width), dt, a, jerk)
            after = rest(new, a, jerk)
            if lowest <= after[1] and after[2] <= highest:
                safe, safe_after, share = new, after, share + width
        return safe, safe_after


class SetPoint:
    """Where an arm is told to be, in motion within its limits."""

    def __init__(self, limits: MotionLimits, q: Sequence[float]) -> None:
        """Begin at rest.

        Args:
            limits: what the joints are allowed.
            q: position (n,) [rad].
        """
        self._limits = limits
        self._place([float(value) for value in q])

    def _place(self, q: Sequence[float]) -> None:
        self.joints: list[Motion] = [(value, 0.0, 0.0) for value in q]
        """Motion of each joint."""
        self._rests: list[Rest] = [(value, value, value) for value in q]
        self._tried: tuple[Sequence[float], float, Sequence[float], Sequence[float]] | None = None
        self._found: list[tuple[Motion, Rest]] = []

    @property
    def positions(self) -> list[float]:
        """Position (n,) [rad], as plain numbers."""
        return [q for q, _, _ in self.joints]

    @property
    def q(self) -> Array:
        """Position (n,) [rad]."""
        return np.array(self.positions)

    @property
    def velocity(self) -> Array:
        """Velocity (n,) [rad/s]."""
        return np.array([v for _, v, _ in self.joints])

    @property
    def moving(self) -> bool:
        """Whether any joint has a velocity or an acceleration."""
        return any(v != 0.0 or a != 0.0 for _, v, a in self.joints)

    def stand(self) -> None:
        """Be at rest at once: the arm has stood here, because nothing was sent for long."""
        self._place(self.positions)

    def advance(
        self, wanted: Sequence[float], dt: float, lower: Sequence[float], upper: Sequence[float]
    ) -> None:
        """Move by one step.

        Args:
            wanted: velocities to aim for (n,) [rad/s].
            dt: length of the step [s].
            lower: smallest positions allowed now (n,) [rad].
            upper: largest positions allowed now (n,) [rad].
        """
        steps = self._steps(wanted, dt, lower, upper)
        self.joints = [motion for motion, _ in steps]
        self._rests = [after for _, after in steps]
        self._tried = None

    def stopping(
        self, wanted: Sequence[float], dt: float, lower: Sequence[float], upper: Sequence[float]
    ) -> Array:
        """Posture (n,) [rad] at rest when braking begins after a step; arguments of `advance`."""
        if not any(wanted):  # braking does not move the place where it ends
            return np.array([end for end, _, _ in self._rests])
        return np.array([after[0] for _, after in self._steps(wanted, dt, lower, upper)])

    def ways(
        self, wanted: Sequence[float], dt: float, lower: Sequence[float], upper: Sequence[float]
    ) -> list[tuple[Motion, Rest]]:
        """Motion of each joint after a step, and its way to rest; arguments of `advance`."""
        return self._steps(wanted, dt, lower, upper)

    def _steps(
        self, wanted: Sequence[float], dt: float, lower: Sequence[float], upper: Sequence[float]
    ) -> list[tuple[Motion, Rest]]:
        if (wanted, dt, lower, upper) != self._tried:  # a guard has mostly asked for it just now
            step = self._limits.step
            self._tried = (wanted, dt, lower, upper)
            self._found = [
                step(joint, now, w, dt, low, high)
                for joint, now, w, low, high in zip(
                    self.joints, self._rests, wanted, lower, upper, strict=True
                )
            ]
        return self._found
