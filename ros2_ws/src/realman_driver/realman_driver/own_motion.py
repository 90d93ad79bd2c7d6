"""Whether an arm that moves may still obey what this driver sent."""

import math

from arm_driver.place import OWN_MOTION

LONGEST_GAP = 0.05
"""More between two states is no time in which the arm was seen [s]."""


class StateTime:
    """Time in which states came: it stands still while they, or we, do.

    A process that stood still finds the states of that time waiting, which tell of motions of our
    own; by the clock our last target is old by then. One thread advances, any may read.
    """

    def __init__(self) -> None:
        """No state was seen."""
        self.now = 0.0
        """How long states came [s]."""
        self._received = math.nan

    def advance(self, received: float) -> None:
        """Take the receipt of a state, monotonic [s]."""
        gap = received - self._received
        self._received = received
        if gap > 0.0:
            self.now += min(gap, LONGEST_GAP)

    def is_recent(self, moment: float) -> bool:
        """Whether a moment of this time [s] is no longer ago than our motions last."""
        return self.now - moment < OWN_MOTION
