"""Damped least-squares inverse kinematics along a path: each solution starts from the last one.

Who follows poses with a body that a physics engine knows, and who has but a serial chain, bring
their own `Linearise`; the steps are the same.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.geometry import rotation_log

Array = NDArray[np.float64]

Linearise = Callable[[Array], tuple[Array, Array]]
"""Joints (n,) -> pose of the tool (4, 4), and its Jacobian (6, n): linear rows [m] first, then
angular ones [rad], along the axes of the pose's frame."""

ITERATIONS = 4
"""Steps per pose: a path whose poses are a tick apart is followed to less than a millimetre."""
DAMPING = 0.02
"""[m], [rad]."""
DAMPING_GROWTH = 0.5
"""Damping per unit of error: beyond the reach it stops the elbow's chatter."""
ACCURACY = 2e-4
"""Error at which a pose counts as reached [m], [rad]."""
LARGEST_STEP = 0.25
"""Per iteration [rad]."""
POSTURE_PULL = 0.02
"""Share of the way to the resting posture per iteration, as far as the tool does not move."""


class PoseTracker:
    """Follows poses with one arm; beyond its reach it comes as near as it can."""

    def __init__(
        self, linearise: Linearise, q: ArrayLike, rest: ArrayLike, lower: Array, upper: Array
    ) -> None:
        """Start from a posture.

        Args:
            linearise: Kinematics of the arm.
            q: Where it is (n,) [rad].
            rest: Posture that redundant joints are drawn to (n,) [rad].
            lower: Lower limits (n,) [rad].
            upper: Upper limits (n,) [rad].
        """
        self._linearise = linearise
        self._q = np.array(q, dtype=np.float64)
        self._rest = np.array(rest, dtype=np.float64)
        self._lower, self._upper = lower, upper

    def solve(self, pose: Array) -> Array:
        """Joints (n,) [rad] that bring the tool to a pose (4, 4)."""
        for iteration in range(ITERATIONS):
            found, jacobian = self._linearise(self._q)
            error = pose_error(pose, found)
            if iteration > 0 and np.abs(error).max() < ACCURACY:
                break
            damping = DAMPING + DAMPING_GROWTH * float(error @ error)
            # dq = J^T (J J^T + d^2 I)^-1 e + (I - J^# J) k (q_rest - q)
            inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + damping**2 * np.eye(6))
            pull = POSTURE_PULL * (self._rest - self._q)
            step = inverse @ (error - jacobian @ pull) + pull
            step *= min(1.0, LARGEST_STEP / max(float(np.abs(step).max()), 1e-9))
            self._q = np.clip(self._q + step, self._lower, self._upper)
        return self._q


def pose_error(wanted: Array, found: Array) -> Array:
    """What is missing from one pose (4, 4) to another (6,): way [m], then turn [rad]."""
    turn = rotation_log(wanted[:3, :3] @ found[:3, :3].T)
    return np.concatenate([wanted[:3, 3] - found[:3, 3], turn])
