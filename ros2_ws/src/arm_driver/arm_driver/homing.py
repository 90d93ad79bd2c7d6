"""The slow way home: a path for the safety filter to follow, and who keeps it going."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arm_driver.path_clock import PATIENCE, PathClock
from ate_core.safety import JointCommand

Array = NDArray[np.float64]

PathCheck = Callable[[Array, Array], str]
"""Start and goal (n,) [rad] of a straight motion of the joints -> why it must not be; empty when
it may."""

HOME = "home"
"""Commander name of the driver's own motion."""
HOME_SPEED = 0.5
"""Largest joint speed on the way home [rad/s]."""
HOLD_SILENCE = 0.08
"""Silence of hold-to-home that ends the motion [s]: with the silence of the buttons before and the
brake after it, at rest within 200 ms."""
RELEASE_SILENCE = 0.2
"""Silence after which a button that lost its meaning counts as released [s]."""
AT_HOME = 0.01
"""Distance from home up to which an arm is there [rad]."""
ARRIVED = "at home"
"""How a way home ends that nothing ended before."""
LEAD = 0.08
"""The path waits while its point is further from the set point than this [rad]: a guard slows."""
SHORTEST_WAY = 0.5
"""Shortest duration of a way [s]: in a shorter one the filter would lag, and then hurry."""
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
        self._clock = PathClock(begin, longest_tick=JITTER * period, lead=LEAD)
        # The peak of the quintic's speed is 15/8 of its mean.
        farthest = float(np.max(np.abs(self._goal - self._start)))
        self._duration = max(1.875 * farthest / speed, SHORTEST_WAY)

    def advance(self, now: float, follower: Array | None = None) -> Array:
        """Point (n,) of the path: s = 10 u^3 - 15 u^4 + 6 u^5.

        Args:
            now: present time [s].
            follower: where the set point is (n,) [rad]; the path waits for it. None: it follows.
        """
        if self._clock.elapsed >= self._duration:
            self._clock.lead = AT_HOME
        return self._clock.advance(now, self._at, follower)

    @property
    def done(self) -> bool:
        """Whether the set point was at the goal for a moment, so that the arm has arrived."""
        return self._clock.elapsed >= self._duration + SETTLING

    @property
    def blocked(self) -> bool:
        """Whether the set point did not follow for too long."""
        return self._clock.is_blocked

    def _at(self, elapsed: float) -> Array:
        u = min(elapsed / self._duration, 1.0)
        share = u * u * u * (10.0 + u * (6.0 * u - 15.0))
        point: Array = self._start + share * (self._goal - self._start)
        return point


class Homing:
    """One way home: the whole way after one call, or as long as a button is held."""

    def __init__(self, path: HomePath, held_at: float | None, source: str) -> None:
        """Begin.

        Args:
            path: the way.
            held_at: when the button was last known to be held [s]; None: the whole way.
            source: another one for each way, as each is a deliberate act of its own.
        """
        self.path = path
        self.held_at = held_at
        self.source = source

    def command(self, now: float, follower: Array | None) -> JointCommand:
        """Next point of the way; arguments as in `HomePath.advance`."""
        point = self.path.advance(now, follower)
        return JointCommand(commander=HOME, source=self.source, position=point, stamp=now)

    def end(self, now: float) -> str:
        """Why it is over; empty while it goes on.

        Args:
            now: present time [s].
        """
        if self.path.done:
            return ARRIVED
        if self.path.blocked:
            return f"the way home is blocked for {PATIENCE:.0f} s: drive the arm free"
        if self.held_at is not None and now - self.held_at > HOLD_SILENCE:
            return "the home button was released"
        return ""


class HomeButton:
    """A button that keeps its meaning only until its motion ended. Time is an argument."""

    def __init__(self) -> None:
        """Begin released."""
        self._held_until = float("-inf")

    def spend(self, held_at: float) -> None:
        """Its motion ended or was refused; it must be released before it means anything again.

        Args:
            held_at: when it was last known to be held [s].
        """
        self._held_until = held_at + RELEASE_SILENCE

    def is_spent(self, now: float) -> bool:
        """Whether a button held now was not released since; to be asked for each message."""
        if now > self._held_until:
            return False
        self._held_until = now + RELEASE_SILENCE
        return True
