"""Which streamed target may leave for the controller, and when. Time is an argument.

After a hiccup of the node, of the link or of the controller several targets wait at once. Run
through in a burst they would move the arm at many times its speed limit. So only the newest
leaves, never within `SPACING` of the one before. None leaves after it, or one that it replaced,
waited for longer than `LONGEST_GAP`: then the arm stands, and is stopped and started anew there.
But where a fresh target is `NEAR` the last one, the arm has missed nothing, and simply goes on.
"""

import math
from collections.abc import Callable
from operator import sub

from realman_driver.records import Stream

LONGEST_GAP = 0.030
"""A target that waited for longer, or a look that is later by more, is a hiccup [s]: three periods
of the stream, in which 2 rad/s are 3.4 degrees."""
SPACING = 0.005
"""Two targets are at least so far apart [s]: half a period, and well above the 2 ms that the
controller can take."""
FLOWING = 0.050
"""Targets leave one after the other as long as the last left less than this ago [s]."""
FRESH = 0.002
"""A target that was made less than this ago was not kept waiting [s]."""
NEAR, NEAR_GAP = 0.3, 0.1
"""After a hiccup of less than the second [s] a target within the first of the last one is no leap
[deg]: 0.5 rad/s for one period."""
LISTEN_TIMEOUT = 0.010
"""Longest wait between two looks [s]."""


class TargetPacer:
    """Holds the newest target until it may leave, and tells when the stream had a hiccup."""

    def __init__(self) -> None:
        """Nothing waits and nothing was sent."""
        self._looked = -math.inf
        self._waiting: Stream | None = None
        self._oldest = math.inf
        self._sent_at = -math.inf
        self._sent: tuple[float, ...] | None = None

    def lateness(self, now: float) -> float:
        """By how much this look is later than agreed while targets leave, else 0 [s].

        Args:
            now: present time [s].
        """
        before, self._looked = self._looked, now
        return now - before - LISTEN_TIMEOUT if before - self._sent_at < FLOWING else 0.0

    def offer(self, target: Stream) -> bool:
        """Take a target; True when another one, which had not left, will now never leave."""
        replaced = self._waiting is not None
        self._waiting = target
        self._oldest = min(self._oldest, target.made)
        return replaced

    def wait(self, now: float) -> float:
        """How long to listen before the next look [s]."""
        if self._waiting is None:
            return LISTEN_TIMEOUT
        return min(max(self._sent_at + SPACING - now, 0.0), LISTEN_TIMEOUT)

    def age(self, now: float) -> float:
        """How long the oldest target that did not leave has waited [s]; 0 when none waits."""
        return 0.0 if self._waiting is None else now - self._oldest

    def is_fresh(self, now: float) -> bool:
        """Whether a target waits, and only since a moment ago; at ``now`` [s]."""
        return self._waiting is not None and now - self._oldest < FRESH

    def missed_nothing(self, now: float) -> bool:
        """Whether a fresh target waits that is near the last one: it goes on after a hiccup.

        Args:
            now: present time [s].
        """
        waiting = self._waiting
        if waiting is None or self._sent is None or now - waiting.made > LONGEST_GAP:
            return False
        if now - self._sent_at > NEAR_GAP or self.step(waiting.degrees, tuple) > NEAR:
            return False
        self._oldest = waiting.made  # those that it replaced told nothing else
        return True

    def take(self, now: float) -> tuple[float, ...] | None:
        """Joints [deg] of the target that leaves now; None while none may."""
        if self._waiting is None or now < self._sent_at + SPACING:
            return None
        target = self._waiting.degrees
        self._waiting, self._oldest = None, math.inf
        return target

    def step(self, target: tuple[float, ...], stands: Callable[[], tuple[float, ...]]) -> float:
        """Largest joint step to a target [deg]; infinite when it is unknown.

        Args:
            target: joints [deg].
            stands: tells where the arm is, when no target was sent before [deg].
        """
        before = stands() if self._sent is None else self._sent
        return max(map(abs, map(sub, target, before)), default=math.inf)

    def sent(self, target: tuple[float, ...], now: float) -> None:
        """Note that a target leaves."""
        self._sent, self._sent_at = target, now

    def forget(self, stands: tuple[float, ...] | None = None) -> None:
        """Drop what waits, as the arm was stopped or its set point moved.

        Args:
            stands: where the set point is now [deg]; None: not known.
        """
        self._waiting, self._oldest = None, math.inf
        self._sent = stands
