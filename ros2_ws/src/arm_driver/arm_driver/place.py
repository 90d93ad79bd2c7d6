"""Whether an arm that is told nothing still stands where its last target left it."""

import numpy as np
from numpy.typing import NDArray

from arm_driver.interface import ArmSample

Array = NDArray[np.float64]

OWN_MOTION = 0.5
"""Time after a target in which the arm may still move because of it [s]."""
STANDING = 0.05
"""Speed of the fastest joint below which an arm counts as standing [rad/s]."""
LARGEST_DRIFT = 0.02
"""How far a joint may be from where it came to rest, as by its servo's droop [rad]."""


class Place:
    """Notes where the arm came to rest, and whether it is elsewhere since.

    Another program, or a hand, may move the arm as slowly as it likes; the set point of the last
    target is then no longer the device's, and the next motion must not begin from it. Who moves
    fast is seen by the back end, which names it as an obstacle.
    """

    def __init__(self) -> None:
        """Nothing was sent."""
        self._sent_at = -np.inf
        self._rest: Array | None = None

    def send(self, now: float) -> None:
        """Note that the arm is told where to be, or to move by itself, at ``now`` [s]."""
        self._sent_at, self._rest = now, None

    def is_left(self, sample: ArmSample | None, now: float) -> bool:
        """Whether the arm stands elsewhere than it came to rest; it then counts from there.

        Args:
            sample: newest good state; None: there is none that is fresh.
            now: present time [s].
        """
        if sample is None or now - self._sent_at < OWN_MOTION:
            return False
        if float(np.max(np.abs(sample.velocity))) >= STANDING:
            return False
        if self._rest is None:
            self._rest = sample.position
        drift = float(np.max(np.abs(sample.position - self._rest)))
        if drift <= LARGEST_DRIFT:
            return False
        self._rest = sample.position
        return True
