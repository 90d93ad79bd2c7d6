"""Time-optimal change of one joint's velocity within acceleration and jerk, and where it ends.

The velocity goes from v to w with at most three phases: jerk to a peak acceleration, that
acceleration, jerk back to none (the third-order velocity profile; Biagiotti and Melchiorri,
"Trajectory Planning for Automatic Machines and Robots", 2008, section 3.4). Everything here is
exact at any time, so steps of any length sample one and the same motion. Plain floats: seven
joints are too few for arrays to pay.
"""

import math
from typing import NamedTuple


class Motion(NamedTuple):
    """One joint."""

    q: float
    """Position [rad]."""
    v: float
    """Velocity [rad/s]."""
    a: float
    """Acceleration [rad/s2]."""


class Rest(NamedTuple):
    """The way to rest of a joint that brakes now."""

    end: float
    """Where it comes to rest [rad]."""
    lowest: float
    """Smallest position on the way [rad]."""
    highest: float
    """Largest position on the way [rad]."""


def toward(joint: Motion, w: float, dt: float, acceleration: float, jerk: float) -> Motion:
    """Motion after a time on the way to a velocity.

    Args:
        joint: motion now.
        w: velocity to reach [rad/s].
        dt: time [s].
        acceleration: largest acceleration [rad/s2].
        jerk: largest jerk [rad/s3].
    """
    q, v, a = joint
    if a == 0.0 and v == w:
        return Motion(q + v * dt, v, a)
    sign = 1.0 if w - v >= a * abs(a) / (2.0 * jerk) else -1.0
    v, a, w, jerk_now = sign * v, sign * a, sign * w, jerk
    peak, hold = _peak(v, a, w, acceleration, jerk)
    moved, left = 0.0, dt
    for duration, jerk_now in (
        (max((peak - a) / jerk, 0.0), jerk),
        (hold, 0.0),
        (peak / jerk, -jerk),
    ):
        t = duration if duration < left else left
        moved += t * (v + t * (a / 2.0 + t * jerk_now / 6.0))
        v += t * (a + t * jerk_now / 2.0)
        a += t * jerk_now
        if duration >= left:
            return Motion(q + sign * moved, sign * v, sign * a)
        left -= duration
    return Motion(q + sign * (moved + w * left), sign * w, 0.0)


def rest(joint: Motion, acceleration: float, jerk: float) -> Rest:
    """Way to rest when braking begins now.

    Args:
        joint: motion now.
        acceleration: largest acceleration [rad/s2].
        jerk: largest jerk [rad/s3].
    """
    q, v, a = joint
    if v == 0.0 and a == 0.0:
        return Rest(q, q, q)
    sign = 1.0 if -v >= a * abs(a) / (2.0 * jerk) else -1.0
    v, a = sign * v, sign * a
    peak, hold = _peak(v, a, 0.0, acceleration, jerk)
    rise, fall = max((peak - a) / jerk, 0.0), peak / jerk
    moved = rise * (v + rise * (a / 2.0 + rise * jerk / 6.0))
    v_peak = v + rise * (a + rise * jerk / 2.0)
    moved += hold * (v_peak + hold * peak / 2.0)
    v_peak += hold * peak
    moved += fall * (v_peak + fall * peak / 3.0)
    end, turn = q + sign * moved, q
    if v > 0.0:  # it runs on before it turns back
        t = (-a - math.sqrt(max(a * a - 2.0 * jerk * v, 0.0))) / jerk
        turn = q + sign * t * (v + t * (a / 2.0 + t * jerk / 6.0))
    return Rest(end, min(end, turn, q), max(end, turn, q))


def _peak(v: float, a: float, w: float, acceleration: float, jerk: float) -> tuple[float, float]:
    """Peak acceleration and how long it is held, for a velocity that has to rise."""
    peak = math.sqrt(max(jerk * (w - v) + a * a / 2.0, 0.0))
    if peak <= acceleration:
        return peak, 0.0
    hold = (w - v - (2.0 * acceleration**2 - a * a) / (2.0 * jerk)) / acceleration
    return acceleration, max(hold, 0.0)
