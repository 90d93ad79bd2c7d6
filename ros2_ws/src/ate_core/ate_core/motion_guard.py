"""What may slow an arm down beside its joint limits: the place where distances enter the filter.

The safety filter asks its guard on every step, between the path it wants to follow and the limits
of acceleration, so that a guard can neither jump nor be jumped over.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ate_core.motion_profile import Motion, Rest

Array = NDArray[np.float64]


class StoppingPosture(Protocol):
    """Where an arm comes to rest when it brakes from the next step on, and on which way.

    Position, speed, acceleration and jerk are those of the filter, so a posture found safe can
    always be reached.
    """

    def __call__(self, velocity: Array) -> Array:
        """Posture (n,) [rad] at rest.

        Args:
            velocity: to aim for in this step (n,) [rad/s]; with zeros the arm brakes now.
        """
        ...

    def ways(self, velocity: Array) -> list[tuple[Motion, Rest]]:
        """Motion of each joint (n) after the step, and its way to rest from there.

        Args:
            velocity: to aim for in this step (n,) [rad/s].
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class GuardVerdict:
    """What a guard lets through."""

    velocity: Array
    """Velocity (n,) [rad/s] to aim for; the wanted one, or less."""
    reason: str = ""
    """What is near, its distance and the bound; empty while nothing is slowed."""
    near: str = ""
    """What of the other arm is near, beside the reason; it slows nothing. Empty while none is."""


class MotionGuard(Protocol):
    """Slows an arm near what it must not touch and lets it move away. Time is an argument."""

    def limit(
        self,
        q: Array,
        velocity: Array,
        wanted: Array,
        dt: float,
        now: float,
        stopping: StoppingPosture,
    ) -> GuardVerdict:
        """Velocity to aim for in one step.

        Args:
            q: present set point (n,) [rad].
            velocity: its velocity (n,) [rad/s].
            wanted: velocity asked for, within the joints' speed (n,) [rad/s].
            dt: length of the step [s].
            now: present time, the filter's clock [s].
            stopping: where the arm comes to rest, for any velocity aimed for in this step.
        """
        ...


class NoGuard:
    """Lets everything through: an arm without a description of its surroundings."""

    def limit(
        self,
        q: Array,
        velocity: Array,
        wanted: Array,
        dt: float,
        now: float,
        stopping: StoppingPosture,
    ) -> GuardVerdict:
        """Return the wanted velocity."""
        return GuardVerdict(velocity=wanted)
