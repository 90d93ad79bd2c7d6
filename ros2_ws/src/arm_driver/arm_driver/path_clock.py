"""Time along a path that waits for its arm: late ticks never catch up, a held arm loses none."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PATIENCE = 3.0
"""How long a path waits for the set point before it is given up [s]."""


class PathClock:
    """How far along its path an arm is. Time is an argument."""

    def __init__(self, begin: float, *, longest_tick: float, lead: float) -> None:
        """Stand at the start.

        Args:
            begin: when the path starts [s].
            longest_tick: a later tick counts as this long [s].
            lead: the path waits while its point is further from the set point than this [rad].
        """
        self.lead = lead
        """As the argument; may be changed on the way [rad]."""
        self._last = begin
        self._longest_tick = longest_tick
        self._waiting = 0.0
        self.elapsed = 0.0
        """Time along the path [s]."""

    def advance(
        self, now: float, point_at: Callable[[float], Array], set_point: Array | None
    ) -> Array:
        """Go on, or wait; the point of the path (n,) [rad] after it.

        Args:
            now: present time [s].
            point_at: point of the path (n,) [rad] at a time along it [s].
            set_point: where the arm is told to be (n,) [rad]; None: nothing told yet, go on.
        """
        step = min(max(now - self._last, 0.0), self._longest_tick)
        self._last = now
        point = point_at(self.elapsed)
        if set_point is not None and float(np.max(np.abs(point - set_point))) > self.lead:
            self._waiting += step
            return point
        self._waiting = 0.0
        self.elapsed += step
        return point_at(self.elapsed)

    @property
    def is_blocked(self) -> bool:
        """Whether the set point did not follow for too long."""
        return self._waiting > PATIENCE
