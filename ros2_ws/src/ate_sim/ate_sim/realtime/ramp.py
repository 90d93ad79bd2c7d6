"""Joint targets that arrive now and then, made into one set point per physics step."""

import numpy as np
from numpy.typing import NDArray

SHORTEST_PERIOD = 0.004
"""Ramp time when targets come faster than the world reads them [s]."""
LONGEST_PERIOD = 0.02
"""Ramp time when targets come slowly: a pause before a motion must not soften its start [s]."""


class TargetRamp:
    """Move linearly from one target to the next over the time between their arrivals.

    Held targets make the servos jerk at every arrival (acceleration peaks 30-80 times higher);
    the ramp costs one period of delay. When no target comes any more, the last one stays.
    """

    def __init__(self, start: NDArray[np.float64]) -> None:
        """Begin at rest at `start` (n,)."""
        self._from = np.array(start, dtype=float)
        self._to = self._from.copy()
        self._stamp_ns = 0
        self._arrival = -np.inf
        self._period = SHORTEST_PERIOD

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
        self._period = float(np.clip(now - self._arrival, SHORTEST_PERIOD, LONGEST_PERIOD))
        self._arrival = now
        self._stamp_ns = stamp_ns

    def at(self, now: float) -> NDArray[np.float64]:
        """Return the set point at simulated time `now` [s], (n,)."""
        share = min(max((now - self._arrival) / self._period, 0.0), 1.0)
        point: NDArray[np.float64] = self._from + share * (self._to - self._from)
        return point
