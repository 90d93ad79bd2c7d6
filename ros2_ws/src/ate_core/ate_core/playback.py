"""Stamped targets that arrive at 20 to 90 Hz with jitter, played back as one smooth path."""

import math
from collections import deque
from collections.abc import Sequence

FIRST_PERIOD = 0.020
"""Period assumed before the second target has come [s]."""
SHORTEST_DELAY = 0.010
"""Delay at least: one tick of the 100 Hz stream [s]."""
LONGEST_PERIOD = 0.060
"""Command period bridged at most [s]: a policy at 20 Hz with jitter. Slower ones move in steps."""
DELAY_DECAY = 0.5
"""Time in which the delay shrinks again after a late target [s]: an arm whose commander is gone is
still moved for the delay, and needs 150 ms to brake from 2 rad/s."""


class TargetPlayback:
    """Interpolate linearly between targets at their own stamps, about one period later.

    Playing by stamps takes the jitter of the transport out of the motion. The delay is the
    least that lets the next target arrive before the present one is reached: the interval of
    the stamps plus the age at arrival. It grows at once when one is late and shrinks slowly.
    """

    def __init__(self, point: Sequence[float], now: float, age: float) -> None:
        """Begin at a point.

        Args:
            point: present set point (n,).
            now: time of the present set point [s].
            age: age of the first target at its arrival [s].
        """
        self._delay = max(age, 0.0) + FIRST_PERIOD
        self._time = now - self._delay
        self.point = list(point)
        """Where the path was last (n,)."""
        self._knots: deque[tuple[float, list[float]]] = deque([(self._time, self.point)])

    def append(self, target: list[float], stamp: float, now: float) -> None:
        """Take the newest target.

        Args:
            target: target (n,).
            stamp: when it was made, later than the one before [s].
            now: when it arrived [s].
        """
        before = self._knots[-1][0]
        interval = min(stamp - before, LONGEST_PERIOD)
        needed = max(now - stamp + interval, SHORTEST_DELAY)
        if needed > self._delay:
            self._delay = needed
        else:
            self._delay += (needed - self._delay) * (1.0 - math.exp(-interval / DELAY_DECAY))
        if stamp > before:
            self._knots.append((stamp, target))

    def at(self, now: float) -> list[float]:
        """Advance to ``now``: point (n,) of the path; the newest target once it is reached."""
        self._time = max(self._time, now - self._delay)
        knots = self._knots
        while len(knots) > 1 and knots[1][0] <= self._time:
            knots.popleft()
        start_time, self.point = knots[0]
        if len(knots) > 1:
            end_time, end = knots[1]
            share = max(self._time - start_time, 0.0) / (end_time - start_time)
            self.point = [a + share * (b - a) for a, b in zip(self.point, end, strict=True)]
        return self.point

    @property
    def delay(self) -> float:
        """Present delay from stamp to playback [s]."""
        return self._delay
