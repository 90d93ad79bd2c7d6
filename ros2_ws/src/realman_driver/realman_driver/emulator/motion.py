"""The four ways a set point moves; time is an argument."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Motion(Protocol):
    """A set point as a function of time."""

    def at(self, now: float) -> Array:
        """Set point (7,) [rad] at time ``now`` [s]."""
        ...

    def velocity(self, now: float) -> Array:
        """Velocity (7,) [rad/s] at time ``now`` [s]."""
        ...

    def done(self, now: float) -> bool:
        """Whether the set point stands still from ``now`` on."""
        ...


@dataclass(frozen=True, eq=False)
class Hold:
    """Stand still."""

    q: Array

    def at(self, now: float) -> Array:
        """Return the same point always."""
        return self.q

    def velocity(self, now: float) -> Array:
        """Return zeros."""
        return np.zeros_like(self.q)

    def done(self, now: float) -> bool:
        """Return True."""
        return True


@dataclass(frozen=True, eq=False)
class Ramp:
    """Straight from one streamed target to the next, as a follow mode does between frames."""

    start: Array
    goal: Array
    begin: float
    duration: float

    def at(self, now: float) -> Array:
        """Linear interpolation, then the goal."""
        share = min(max((now - self.begin) / self.duration, 0.0), 1.0)
        return self.start + share * (self.goal - self.start)

    def velocity(self, now: float) -> Array:
        """Constant until the goal is reached."""
        if self.done(now):
            return np.zeros_like(self.goal)
        return (self.goal - self.start) / self.duration

    def done(self, now: float) -> bool:
        """Whether the ramp has ended."""
        return now >= self.begin + self.duration


class Trapezoid:
    """All joints together from rest to rest, with a trapezoidal speed profile."""

    def __init__(
        self, start: Array, goal: Array, begin: float, speed: Array, acceleration: Array
    ) -> None:
        """Plan; the joint that needs longest sets the pace of the path parameter 0..1."""
        self._start, self._goal, self._begin = start, goal, begin
        distance = np.maximum(np.abs(goal - start), 1e-9)
        self._a = float(np.min(acceleration / distance))
        self._v = min(float(np.min(speed / distance)), math.sqrt(self._a))
        self._rise = self._v / self._a
        self._duration = 1.0 / self._v + self._rise

    def at(self, now: float) -> Array:
        """Point on the straight joint path."""
        t = min(max(now - self._begin, 0.0), self._duration)
        rest = self._duration - t
        if t < self._rise:
            share = 0.5 * self._a * t * t
        elif rest < self._rise:
            share = 1.0 - 0.5 * self._a * rest * rest
        else:
            share = self._v * (t - 0.5 * self._rise)
        return self._start + share * (self._goal - self._start)

    def velocity(self, now: float) -> Array:
        """Derivative of ``at``."""
        t = min(max(now - self._begin, 0.0), self._duration)
        pace = min(self._v, self._a * t, self._a * (self._duration - t))
        return pace * (self._goal - self._start)

    def done(self, now: float) -> bool:
        """Whether the goal is reached."""
        return now >= self._begin + self._duration


class Brake:
    """From a velocity to rest; joints keep their proportion, so the path stays straight."""

    def __init__(self, start: Array, velocity: Array, begin: float, acceleration: float) -> None:
        """Plan a stop with at most ``acceleration`` [rad/s2] in the fastest joint."""
        self._start, self._velocity, self._begin = start, velocity, begin
        self._duration = float(np.max(np.abs(velocity))) / acceleration

    def at(self, now: float) -> Array:
        """Point on the braking path."""
        t = min(max(now - self._begin, 0.0), self._duration)
        if self._duration == 0.0:
            return self._start
        return self._start + self._velocity * (t - 0.5 * t * t / self._duration)

    def velocity(self, now: float) -> Array:
        """Falls linearly to zero."""
        if self.done(now):
            return np.zeros_like(self._start)
        return self._velocity * (1.0 - max(now - self._begin, 0.0) / self._duration)

    def done(self, now: float) -> bool:
        """Whether the arm is at rest."""
        return now >= self._begin + self._duration
