"""The quadratic program of one tick: bring the tool to its target, within a box.

With e the pose error of the tool, J its Jacobian and W weights,

    min  1/2 |W (J dq - e)|^2 + 1/2 mu |dq|^2 + 1/2 w |dq - v_rest dt|^2
         + 1/2 c |W e|^2 |dq - k v dt|^2
    s.t. lower <= dq <= upper,   N dq >= floors

The last are soft (`distance_rows.py`): where they contradict the box, the box holds. Two things
come before them. Where a row forbids a step, the tool goes slower on its way, and leaves that only
where it would come to a stop; where a joint would be too fast, all go slower. With rows and speeds
in the program alone it moves whatever else it can, at full speed for a millimetre of the tool, and
the arm, which cannot follow, swings.
v_rest is a slow pull to a resting posture, which decides what the pose leaves free. The last term
is a price on leaving the present velocity v that grows with the error: without it joints turn
about in every tick, at full speed, while the target is out of reach (after Sugihara,
"Solvability-unconcerned inverse kinematics", T-RO 2011, where the arm is pulled to a standstill;
that slows down an arm which only lags behind a fast hand).
"""

import math
from dataclasses import dataclass

import daqp
import numpy as np
from numpy.typing import NDArray

from ate_teleop.distance_rows import DistanceRows

Array = NDArray[np.float64]
Step = tuple[Array, list[int]]
"""Motion (n,) [rad], and the joints (from 0) that a bound holds."""
_SOLVED = 1
"""DAQP's exit flag for an optimal solution."""
_SOFTLY_SOLVED = 2
"""Its exit flag for one that leaves soft rows."""
_SOFT = 8
"""Its mark of a soft row."""
_FREELY = 1e30
"""Its infinity."""
_STEEP = 1e-9
"""Least length of a direction."""
_FULL = 1.0 - 1e-9
"""Share of the largest step that counts as all of it."""
_WIDE = 3.0
"""Step that no joint is asked for in a tick [rad]."""
SLIDING = 0.4
"""Share of a step below which the tool leaves its way to slide along what is near."""
_FREE = 1
"""DAQP's number of iterations where no bound holds anything."""


@dataclass(frozen=True, kw_only=True)
class PoseCost:
    """Weights of the terms."""

    rotation_weight: float = 0.3
    """Metres of error that one radian of error is worth [m/rad]."""
    damping: float = 1e-6
    """Weight of any motion, mu."""
    posture_weight: float = 3e-5
    """Weight of the pull to the rest posture, w."""
    posture_gain: float = 1.0
    """Speed of the pull per distance [1/s]."""
    posture_speed: float = 0.3
    """Largest speed of the pull while the tool rests at its target [rad/s]."""
    posture_pace: float = 4.0
    """How much faster it may be per weighted error and time of a tick [1/m]."""
    steadiness: float = 0.3
    """Weight of keeping the velocity, per squared weighted error, c [1/m^2]."""
    kept_velocity: float = 0.7
    """Share of the velocity that is kept, k; with all of it the arm swings past the reach."""

    beside_steadiness: float = 2.0
    """The same weight, at least, while the tool slides; as heavy as the pose [1]."""
    beside_kept_velocity: float = 0.95
    """Share of the velocity that is kept there: tangents change little from tick to tick."""
    braking: float = 40.0
    """Hardest braking of the fastest joint on the tool's way [rad/s^2]."""
    beside_acceleration: float = 15.0
    """Largest acceleration of a joint there, from where the box lets it [rad/s^2]."""


class PoseQP:
    """Assembles the program in place and solves it.

    On matrices of this size nearly all time is what each call of a library costs. So the arrays
    are made once, and one product of the table [W J, -W e] with itself gives Hessian, gradient
    and squared error.
    """

    def __init__(self, cost: PoseCost, joints: int) -> None:
        self._cost = cost
        w = cost.rotation_weight
        self._weights = np.array([[1.0], [1.0], [1.0], [w], [w], [w]])
        table = np.empty((6, joints + 1))
        self._table, self._transposed = table, table.T
        self._jacobian = table[:, :joints]
        self.error = table[:, joints]
        """Where the caller puts the weighted error with its sign changed, -W e (6,) [m]."""
        products = np.empty((joints + 1, joints + 1))
        self._products, self._square = products, products[:joints, :joints]
        self._slope, self._squared_error = products[joints, :joints], products[joints, joints:]
        self._hessian = np.empty((joints, joints))
        self._diagonal = self._hessian.reshape(-1)[:: joints + 1]
        self._gradient = np.empty(joints)
        terms = np.zeros((2, joints))
        self._terms, self._shares = terms, np.empty(2)
        self.from_rest, self.velocity = terms
        """Way from the rest posture (n,) [rad], and velocity of the last tick (n,) [rad/s]."""
        self._slides = False
        """Whether a row held the last step, and the tool left its way."""
        self._size = np.empty(joints)
        self._no_rows = np.zeros((0, joints))
        self._no_sense = np.zeros(joints, dtype=np.int32)
        self._joints = joints

    def solve(
        self,
        jacobian: Array,
        dt: float,
        box: Array,
        rows: DistanceRows | None = None,
        reach: Array | None = None,
    ) -> Step | None:
        """Step for what stands in `error`, `from_rest` and `velocity`; None when the solver fails.

        Args:
            jacobian: of the tool (6, n), along the axes of the error.
            dt: length of the tick [s].
            box: least and largest step (2, n) [rad].
            rows: what else to keep; most steps keep it unasked.
            reach: largest step (n,) of each joint [rad], where the step becomes shorter as a whole
                rather than turn aside; None: it turns aside.
        """
        self._slides = self._slides and rows is not None and rows.is_bound
        if not self._assemble(jacobian, dt, self._slides):
            return None
        if rows is None or not rows.is_near:
            return self._paced(box, reach)
        answer = None if self._slides else self._paced(box, reach)
        if answer is None or not rows.surely_allow(answer[0], dt):
            rows.aim(dt, math.hypot(*jacobian[:3].dot(self.velocity).tolist()))
            if answer is None or not rows.allow(answer[0]):
                slower = self._slower(answer, rows, dt)
                self._slides = slower is None
                answer = slower or self._beside(box, rows, dt) or self._paced(box, reach)
        if answer is not None:
            rows.advance(answer[0])
        return answer

    def _slower(self, answer: Step | None, rows: DistanceRows, dt: float) -> Step | None:
        """The same way, as fast as the rows let it or it can brake; None: it would nearly stop."""
        if answer is None:
            return None
        step, held = answer
        fastest = int(np.abs(step, self._size).argmax())
        size, share = self._size.item(fastest), rows.share(step)
        if size < _STEEP:
            return None  # at rest, and to go back
        now = self.velocity.item(fastest) * dt / step.item(fastest)  # what goes on, of the step
        share = max(share, min(now - self._cost.braking * dt * dt / size, 1.0))
        return (share * step, held) if share > SLIDING else None

    def _beside(self, box: Array, rows: DistanceRows, dt: float) -> Step | None:
        """Step in the box that keeps the rows, or leaves them as little as it can."""
        matrix, floors = rows.rows()
        count = len(floors)
        # From where the box lets it, a joint also keeps its acceleration.
        change = self._cost.beside_acceleration * dt
        lower = np.clip((self.velocity - change) * dt, *box)
        upper = np.clip((self.velocity + change) * dt, *box)
        step, _, flag, info = daqp.solve(
            self._hessian,
            self._gradient,
            matrix,
            np.concatenate([upper, np.full(count, _FREELY)]),
            np.concatenate([lower, floors]),
            np.concatenate([self._no_sense, np.full(count, _SOFT, dtype=np.int32)]),
        )
        if flag not in (_SOLVED, _SOFTLY_SOLVED) or not np.isfinite(step).all():
            return None
        held = info["lam"].nonzero()[0].tolist()
        rows.bind([number - self._joints for number in held if number >= self._joints])
        np.clip(step, *box, out=step)
        return step, [number for number in held if number < self._joints]

    def _paced(self, box: Array, reach: Array | None) -> Step | None:
        """Step in the box; where a joint is too slow, a shorter one on the way of all.

        Else the other joints would make up for it, at up to full speed for a millimetre of the
        tool. No arm follows that: each joint lags in its own way, and the tool swings.
        """
        answer = self._in_box(box)
        if answer is None or reach is None or not answer[1]:
            return answer
        np.abs(answer[0], self._size)
        if not (self._size >= _FULL * reach).any():
            return answer
        lower, upper = box
        # Wide open where the speed bounds it: only limits of position turn the step aside.
        whole = self._in_box(
            np.where([lower <= -_FULL * reach, upper >= _FULL * reach], [[-_WIDE], [_WIDE]], box)
        )
        if whole is None:
            return answer
        share = min(1.0, (reach / np.maximum(np.abs(whole[0]), _STEEP)).min().item())
        return np.clip(share * whole[0], lower, upper), answer[1]

    def _in_box(self, box: Array) -> Step | None:
        """Step in the box."""
        lower, upper = box
        step, _, flag, info = daqp.solve(
            self._hessian, self._gradient, self._no_rows, upper, lower, self._no_sense
        )
        if flag != _SOLVED:
            return None
        if info["iterations"] == _FREE:
            return step, []
        # Clipped, because the solver's own tolerance is 1e-6.
        np.maximum(step, lower, out=step)
        np.minimum(step, upper, out=step)
        return step, info["lam"].nonzero()[0].tolist()

    def _assemble(self, jacobian: Array, dt: float, beside: bool) -> bool:
        """Write Hessian and gradient; whether the error is a number."""
        cost, gradient, shares = self._cost, self._gradient, self._shares
        np.multiply(jacobian, self._weights, self._jacobian)
        np.dot(self._transposed, self._table, self._products)
        squared = self._squared_error.item()
        if not math.isfinite(squared):
            return False
        steadiness, kept = cost.steadiness * squared, cost.kept_velocity
        if beside and steadiness < cost.beside_steadiness:
            steadiness, kept = cost.beside_steadiness, cost.beside_kept_velocity
        np.copyto(self._hessian, self._square)
        self._diagonal += cost.damping + cost.posture_weight + steadiness
        fastest = cost.posture_speed + cost.posture_pace * math.sqrt(squared) / dt
        away = math.sqrt(self.from_rest.dot(self.from_rest))
        speed = min(cost.posture_gain, fastest / away) if away > 0.0 else 0.0
        shares[0] = cost.posture_weight * speed * dt
        shares[1] = -steadiness * kept * dt
        np.dot(shares, self._terms, gradient)
        gradient += self._slope
        return True
