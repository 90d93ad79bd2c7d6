"""Joint targets that arrive now and then, made into one set point per physics step."""

import numpy as np
from numpy.typing import NDArray

SHORTEST_PERIOD = 0.004
"""Ramp time when targets come faster than the world reads them [s]."""
LONGEST_PERIOD = 0.2
"""Ramp time at most [s]: as long as the world may be late and catch up."""
RETURN_SPEED, RETURN_TIME = 1.0, 0.5
"""Speed at most, and for how long, after the world stood still [rad/s, s]."""


class TargetRamp:
    """Move linearly from one target to the next over the time between their stamps.

    Held targets make the servos jerk at every arrival (acceleration peaks 30-80 times higher);
    the ramp costs one period of delay. The time is the writer's, so a world that wakes up late
    moves no joint faster. When no target comes any more, the last one stays.
    """

    def __init__(self, start: NDArray[np.float64]) -> None:
        """Begin at rest at `start` (n,)."""
        self._from = np.array(start, dtype=float)
        self._to = self._from.copy()
        self._stamp_ns = 0
        self._arrival = -np.inf
        self._period = SHORTEST_PERIOD
        self._returns_until = -np.inf

    def offer(self, target: NDArray[np.float64], stamp_ns: int, now: float) -> None:
        """Take the newest target of the writer, (n,); a stamp seen before changes nothing.

        Args:
            target: Set point to reach (n,); ignored when not finite.
            stamp_ns: When the writer wrote it, on its own clock [ns].
            now: Simulated time [s].
        """
        if stamp_ns == self._stamp_ns or not np.all(np.isfinite(target)):
            return
        self._from = self.at(now)
        self._to = np.array(target, dtype=float)
        elapsed = (stamp_ns - self._stamp_ns) * 1e-9
        self._period = float(np.clip(elapsed, SHORTEST_PERIOD, LONGEST_PERIOD))
        if now < self._returns_until:
            needed = float(np.abs(self._to - self._from).max()) / RETURN_SPEED
            self._period = max(needed, self._period)
        self._arrival = now
        self._stamp_ns = stamp_ns

    def stand_still(self, now: float) -> None:
        """Time was left out at `now` [s]: come back slowly to targets that went on meanwhile."""
        self._returns_until = now + RETURN_TIME

    def at(self, now: float) -> NDArray[np.float64]:
        """Return the set point at simulated time `now` [s], (n,)."""
        share = min(max((now - self._arrival) / self._period, 0.0), 1.0)
        point: NDArray[np.float64] = self._from + share * (self._to - self._from)
        return point
