"""Joint motion within speed, acceleration and bounds, one step at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def braking_speed(distance: Array, acceleration: float, dt: float) -> Array:
    """Largest speed from which a joint still stops within a distance after one more step.

    Solves v dt + v^2 / (2 a) = distance for v >= 0.

    Args:
        distance: room left (n,) [rad]; negative counts as none.
        acceleration: largest deceleration a [rad/s2].
        dt: length of the step [s].
    """
    lost = acceleration * dt
    speed: Array = np.sqrt(lost**2 + 2.0 * acceleration * np.maximum(distance, 0.0)) - lost
    return speed


def clip(values: Array, lower: Array, upper: Array) -> Array:
    """Values (n,) within bounds: `np.clip` without its overhead, which is most of it for n = 7."""
    clipped: Array = np.minimum(np.maximum(values, lower), upper)
    return clipped


@dataclass(frozen=True, kw_only=True, eq=False)
class MotionLimits:
    """What the joints of one arm are allowed."""

    lower: Array
    """Lower bounds (n,) [rad]."""
    upper: Array
    """Upper bounds (n,) [rad]."""
    speed: Array
    """Largest speeds (n,) [rad/s]."""
    acceleration: float
    """Largest acceleration [rad/s2]."""

    def follow(self, q: Array, path: Array, path_velocity: Array, dt: float) -> Array:
        """Velocity (n,) [rad/s] that closes in on a moving point without overshooting it.

        The speed relative to the path is limited to what can be braked before meeting it, so
        a path that suddenly stops is met at rest unless the arm already was on it.

        Args:
            q: present set point (n,) [rad].
            path: point of the path now (n,) [rad].
            path_velocity: velocity of the path over the coming step (n,) [rad/s].
            dt: length of the step [s].
        """
        lag = path - q
        limit = braking_speed(np.abs(lag), self.acceleration, dt)
        closing = clip(lag / dt, -limit, limit)
        velocity: Array = clip(path_velocity, -self.speed, self.speed) + closing
        return velocity

    def within(self, q: Array, wanted: Array, centre: Array, reach: float, dt: float) -> Array:
        """Velocity (n,) [rad/s] within speed, braking for the bounds and for a window.

        Args:
            q: present set point (n,) [rad].
            wanted: velocity asked for (n,) [rad/s].
            centre: centre of a moving window (n,) [rad].
            reach: half width of the window [rad].
            dt: length of the step [s].
        """
        above = np.minimum(self.upper, centre + reach) - q
        below = q - np.maximum(self.lower, centre - reach)
        velocity = clip(wanted, -self.speed, self.speed)
        velocity = np.minimum(velocity, braking_speed(above, self.acceleration, dt))
        velocity = np.maximum(velocity, -braking_speed(below, self.acceleration, dt))
        return velocity

    def advance(self, q: Array, velocity: Array, wanted: Array, dt: float) -> tuple[Array, Array]:
        """Next set point and velocity (n,) within acceleration and bounds.

        A set point outside the bounds stays or returns; it is never moved in at once.
        """
        change = self.acceleration * dt
        reached = q + clip(wanted, velocity - change, velocity + change) * dt
        reached = clip(reached, np.minimum(self.lower, q), np.maximum(self.upper, q))
        return reached, (reached - q) / dt
