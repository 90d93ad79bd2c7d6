"""The slow way home: a path for the safety filter to follow."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

JITTER = 1.2
"""Longest tick in periods; a later one does not catch up."""
SETTLING = 0.2
"""How long the goal is commanded before the arm counts as arrived [s]."""


class HomePath:
    """Straight in joint space from rest to rest, slow in and slow out. Time is an argument.

    A late call does not catch up: the path then takes longer, at no higher speed.
    """

    def __init__(
        self, start: ArrayLike, goal: ArrayLike, begin: float, speed: float, period: float
    ) -> None:
        """Plan.

        Args:
            start: joints now (n,) [rad].
            goal: joints at the end (n,) [rad].
            begin: when it starts [s].
            speed: largest speed of any joint [rad/s].
            period: time between two calls [s].
        """
        self._start = np.asarray(start, dtype=np.float64)
        self._goal = np.asarray(goal, dtype=np.float64)
        self._last = begin
        self._elapsed = 0.0
        self._longest_tick = JITTER * period
        # The peak of the quintic's speed is 15/8 of its mean.
        farthest = float(np.max(np.abs(self._goal - self._start)))
        self._duration = max(1.875 * farthest / speed, 0.1)

    def advance(self, now: float) -> Array:
        """Point (n,) of the path: s = 10 u^3 - 15 u^4 + 6 u^5."""
        self._elapsed += min(max(now - self._last, 0.0), self._longest_tick)
        self._last = now
        u = min(self._elapsed / self._duration, 1.0)
        share = u * u * u * (10.0 + u * (6.0 * u - 15.0))
        point: Array = self._start + share * (self._goal - self._start)
        return point

    @property
    def done(self) -> bool:
        """Whether the goal was commanded for a moment, so that the arm has arrived."""
        return self._elapsed >= self._duration + SETTLING
