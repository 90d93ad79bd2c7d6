"""A joint trajectory of a standard tool: checked as a whole, then sampled. No ROS.

Between two points runs a polynomial that meets what the points give: positions alone a cubic that
does not overshoot them (Fritsch and Carlson, SIAM J. Numer. Anal. 17, 1980), with velocities a
cubic, with accelerations too a quintic. Before a first point later than zero the path begins at
rest where the arm is. What would break a limit is refused, not cut: a path that the arm cannot
follow is another path.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.contract import SafetyConfig
from ate_core.devices import ArmConfig
from ate_core.errors import SafetyError

Array = NDArray[np.float64]

MOST_POINTS = 10_000
"""Points that a trajectory may have."""
LONGEST = 600.0
"""Longest duration of a trajectory [s]."""
NEAR_START = 0.05
"""Distance from the present posture within which a first point at time zero may lie [rad]."""
AT_REST = 0.01
"""Speed with which a trajectory may end [rad/s]."""
CHECK_STEP = 0.005
"""Between two moments at which limits are checked [s]."""
SLACK = 1e-6
"""Rounding that is no violation."""


@dataclass(frozen=True, kw_only=True)
class TrajectoryPoint:
    """One point as it was asked for, in the order of the request's names."""

    time: float
    """From the start of the trajectory [s]."""
    position: Sequence[float]
    """Joint angles [rad]."""
    velocity: Sequence[float] = ()
    """Joint speeds [rad/s]; may be empty."""
    acceleration: Sequence[float] = ()
    """Joint accelerations [rad/s2]; may be empty, and is used with velocities only."""


class Trajectory:
    """A checked path of one arm. Time is an argument, from the start [s]."""

    def __init__(self, names: Sequence[str], times: Array, coefficients: Array) -> None:
        """Prepare.

        Args:
            names: joints of the arm (n).
            times: of the points (m,) [s].
            coefficients: of each segment, lowest power first (m - 1, 6, n).
        """
        self._names = names
        self._times = times
        self._coefficients = coefficients
        self.duration = float(times[-1])
        """When the last point is reached [s]."""
        self.goal = self.at(self.duration)
        """Last posture (n,) [rad]."""

    def at(self, time: float) -> Array:
        """Posture (n,) [rad]; before the start the first, after the end the last."""
        posture: Array = self.sample(np.array([time]))[0]
        return posture

    def start_problem(self, present: Array) -> str:
        """Why it must not begin where the arm is (n,) [rad]; empty when it may."""
        away = np.abs(self.at(0.0) - present)
        joint = int(np.argmax(away))  # one that is no number comes first
        if away[joint] <= NEAR_START:
            return ""
        return (
            f"trajectory starts {away[joint]:.3f} rad from where {self._names[joint]} is, bound "
            f"{NEAR_START} rad: plan it from the present posture, or leave it time to get there "
            "by a first point later than 0 s"
        )

    def sample(self, times: ArrayLike, derivative: int = 0) -> Array:
        """Postures (k, n) at some times, or a derivative of them."""
        moments = np.clip(np.asarray(times, dtype=np.float64), 0.0, self._times[-1])
        index = np.searchsorted(self._times, moments, side="right") - 1
        index = np.clip(index, 0, len(self._times) - 2)
        u = (moments - self._times[index])[:, None]
        powers = self._coefficients[index]  # (k, 6, n)
        for _ in range(derivative):
            factors = np.arange(1.0, powers.shape[1])[None, :, None]
            powers = powers[:, 1:] * factors
        value: Array = np.zeros_like(powers[:, 0])
        for power in range(powers.shape[1] - 1, -1, -1):
            value = value * u + powers[:, power]
        return value

    @property
    def moments(self) -> Array:
        """Times (k,) [s] at which it is checked: close together, and both sides of its points."""
        regular = np.arange(0.0, self.duration + CHECK_STEP, CHECK_STEP)
        before = np.nextafter(self._times, 0.0)
        return np.unique(np.concatenate([regular, self._times, before]))

    def postures(self, step: float) -> Array:
        """Postures (k, n) [rad] along the path, no joint moving further than ``step`` between."""
        fine = self.sample(self.moments)
        moved = np.concatenate([[0.0], np.cumsum(np.max(np.abs(np.diff(fine, axis=0)), axis=1))])
        marks = np.arange(0.0, moved[-1] + step, step)
        chosen: Array = fine[np.unique(np.searchsorted(moved, marks).clip(0, len(fine) - 1))]
        return chosen


def plan(
    names: Sequence[str],
    points: Sequence[TrajectoryPoint],
    arm: ArmConfig,
    safety: SafetyConfig,
    present: Array,
) -> Trajectory:
    """Check a request and make it a path.

    Args:
        names: joints in the order of the points.
        points: at least one, in time.
        arm: joints and limits.
        safety: limits of the cell.
        present: where the arm is (n,) [rad].

    Raises:
        SafetyError: what is wrong, the value and the bound.
    """
    order = _order(names, arm)
    _check_points(points, len(order))
    times = np.array([point.time for point in points])
    rows = [np.array([point.position for point in points])[:, order]]
    for key in ("velocity", "acceleration"):
        given = [len(getattr(point, key)) for point in points]
        if not any(given):
            break
        rows.append(np.array([getattr(point, key) for point in points])[:, order])
    if times[0] > 0.0:
        times = np.concatenate([[0.0], times])
        rows[0] = np.vstack([present, rows[0]])
        rows[1:] = [np.vstack([np.zeros(len(order)), row]) for row in rows[1:]]
    if len(times) == 1:  # a single point at time zero: where the arm is already
        times = np.array([0.0, CHECK_STEP])
        rows = [np.repeat(rows[0], 2, axis=0)]
    with np.errstate(over="ignore", invalid="ignore"):  # refused below, by what comes out
        trajectory = Trajectory(arm.joint_names, times, _coefficients(times, rows))
        problem = trajectory.start_problem(present)
    if problem:
        raise SafetyError(problem)
    _check_limits(trajectory, arm, safety)
    return trajectory


def _order(names: Sequence[str], arm: ArmConfig) -> list[int]:
    if len(names) != len(arm.joint_names) or set(names) != set(arm.joint_names):
        raise SafetyError(f"trajectory has joints {list(names)}, need {list(arm.joint_names)}")
    return [list(names).index(name) for name in arm.joint_names]


def _check_points(points: Sequence[TrajectoryPoint], joints: int) -> None:
    if not 1 <= len(points) <= MOST_POINTS:
        raise SafetyError(f"trajectory has {len(points)} points, need 1 to {MOST_POINTS}")
    before = -1.0
    first = points[0]
    for number, point in enumerate(points, 1):
        if not 0.0 <= point.time <= LONGEST or point.time <= before:
            raise SafetyError(
                f"point {number} of the trajectory is at {point.time:g} s after {before:g} s; "
                f"need growing times from 0 to {LONGEST:g} s"
            )
        before = point.time
        for key in ("position", "velocity", "acceleration"):
            values = getattr(point, key)
            if len(values) != joints and (key == "position" or len(values) != 0):
                raise SafetyError(
                    f"point {number} of the trajectory has {len(values)} numbers as {key}, "
                    f"need {joints}"
                )
            if (len(values) == 0) != (len(getattr(first, key)) == 0):
                raise SafetyError(
                    f"point {number} of the trajectory differs from the first in whether it has "
                    f"{key}: give it for all points or for none"
                )
            if not np.all(np.isfinite(values)):
                raise SafetyError(
                    f"point {number} of the trajectory has a {key} that is no number"
                )
    end = float(np.max(np.abs(points[-1].velocity), initial=0.0))
    if not end <= AT_REST:
        raise SafetyError(
            f"trajectory ends at {end:.3f} rad/s, bound {AT_REST} rad/s: end it at rest"
        )


def _check_limits(trajectory: Trajectory, arm: ArmConfig, safety: SafetyConfig) -> None:
    times = trajectory.moments
    lower, upper = (np.array(bound) for bound in arm.bounds(safety.position_margin))
    # The arm may stand outside already: the way back in is free.
    start = trajectory.at(0.0)
    lower, upper = np.minimum(lower, start), np.maximum(upper, start)
    speed = np.minimum(arm.joint_speed, safety.max_joint_speed)
    largest = np.full(len(lower), safety.max_joint_acceleration)
    for what, unit, derivative, low, high in (
        ("angle", "rad", 0, lower, upper),
        ("speed", "rad/s", 1, -speed, speed),
        ("acceleration", "rad/s2", 2, -largest, largest),
    ):
        with np.errstate(over="ignore", invalid="ignore"):
            values = trajectory.sample(times, derivative)
        beyond = np.maximum(low - values, values - high)
        row, joint = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
        if not beyond[row, joint] <= SLACK:  # what is no number comes first, and is beyond
            raise SafetyError(
                f"trajectory has {arm.joint_names[joint]} at the {what} "
                f"{values[row, joint]:.3f} {unit} after {times[row]:.2f} s, bounds "
                f"{low[joint]:.3f} to {high[joint]:.3f}: plan within them, or more slowly"
            )


def _coefficients(times: Array, rows: Sequence[Array]) -> Array:
    """Polynomials (m - 1, 6, n) between points; rows are positions, velocities, accelerations."""
    h = np.diff(times)[:, None]
    q = rows[0]
    result = np.zeros((len(h), 6, q.shape[1]))
    delta = (q[1:] - q[:-1]) / h
    v = rows[1] if len(rows) > 1 else _slopes(h, delta)
    v0, v1 = v[:-1], v[1:]
    result[:, 0], result[:, 1] = q[:-1], v0
    if len(rows) < 3:
        result[:, 2] = (3.0 * delta - 2.0 * v0 - v1) / h
        result[:, 3] = (v0 + v1 - 2.0 * delta) / h**2
        return result
    a0, a1 = rows[2][:-1], rows[2][1:]
    result[:, 2] = a0 / 2.0
    result[:, 3] = (20 * delta - 8 * v1 - 12 * v0 - (3 * a0 - a1) * h) / (2 * h**2)
    result[:, 4] = (-30 * delta + 14 * v1 + 16 * v0 + (3 * a0 - 2 * a1) * h) / (2 * h**3)
    result[:, 5] = (12 * delta - 6 * (v1 + v0) + (a1 - a0) * h) / (2 * h**4)
    return result


def _slopes(h: Array, delta: Array) -> Array:
    """Velocities (m, n) at the points: rest at the ends, no overshoot between them."""
    slopes = np.zeros((len(delta) + 1, delta.shape[1]))
    if len(delta) < 2:
        return slopes
    before, after = delta[:-1], delta[1:]
    w1, w2 = 2.0 * h[1:] + h[:-1], h[1:] + 2.0 * h[:-1]
    turning = before * after <= 0.0
    safe_before, safe_after = np.where(turning, 1.0, before), np.where(turning, 1.0, after)
    mean = (w1 + w2) / (w1 / safe_before + w2 / safe_after)
    slopes[1:-1] = np.where(turning, 0.0, mean)
    return slopes
