"""Time-optimal change of one joint's velocity within acceleration and jerk, and where it ends.

The velocity goes from v to w with at most three phases: jerk to a peak acceleration, that
acceleration, jerk back to none (the third-order velocity profile; Biagiotti and Melchiorri,
"Trajectory Planning for Automatic Machines and Robots", 2008, section 3.4). Everything here is
exact at any time, so steps of any length sample one and the same motion.

Plain floats and tuples, each phase written out: this runs 14 to 70 times in every step of an arm,
and arrays of seven numbers cost more.
"""

from math import sqrt

Motion = tuple[float, float, float]
"""Position [rad], velocity [rad/s] and acceleration [rad/s2] of one joint."""
Rest = tuple[float, float, float]
"""Of a joint that brakes now: where it comes to rest, smallest and largest position on the way."""


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
    rise = w - v
    if a == 0.0 and rise == 0.0:
        return q + v * dt, v, a
    sign = 1.0
    if rise < a * abs(a) / (2.0 * jerk):  # with opposite signs the velocity has to rise
        sign, q, v, a, w, rise = -1.0, -q, -v, -a, -w, -rise
    peak = sqrt(max(jerk * rise + 0.5 * a * a, 0.0))
    hold = 0.0
    if peak > acceleration:
        peak = acceleration
        hold = max((rise - (peak * peak - 0.5 * a * a) / jerk) / peak, 0.0)
    t = max((peak - a) / jerk, 0.0)
    if dt <= t:
        ramp = dt * jerk
        q += dt * (v + dt * (0.5 * a + ramp / 6.0))
        return sign * q, sign * (v + dt * (a + 0.5 * ramp)), sign * (a + ramp)
    q += t * (v + t * (0.5 * a + t * jerk / 6.0))
    v += t * (a + 0.5 * t * jerk)
    dt -= t
    if dt <= hold:
        return sign * (q + dt * (v + 0.5 * dt * peak)), sign * (v + dt * peak), sign * peak
    q += hold * (v + 0.5 * hold * peak)
    v += hold * peak
    dt -= hold
    t = peak / jerk
    if dt < t:
        ramp = dt * jerk
        q += dt * (v + dt * (0.5 * peak - ramp / 6.0))
        return sign * q, sign * (v + dt * (peak - 0.5 * ramp)), sign * (peak - ramp)
    return sign * (q + t * (v + t * peak / 3.0) + (dt - t) * w), sign * w, 0.0


def braking_time(speed: float, acceleration: float, jerk: float) -> float:
    """Time in which a joint that moves evenly brakes to rest [s].

    Args:
        speed: at which it moves [rad/s].
        acceleration: largest acceleration [rad/s2].
        jerk: largest jerk [rad/s3].
    """
    if speed * jerk <= acceleration * acceleration:
        return 2.0 * sqrt(speed / jerk)
    return speed / acceleration + acceleration / jerk


def braking_speed(time: float, acceleration: float, jerk: float) -> float:
    """Largest even speed from which a joint brakes to rest within a time [rad/s].

    Args:
        time: that is left [s]; below 0 there is none.
        acceleration: largest acceleration [rad/s2].
        jerk: largest jerk [rad/s3].
    """
    if time * jerk <= 2.0 * acceleration:
        return 0.25 * jerk * max(time, 0.0) ** 2
    return acceleration * (time - acceleration / jerk)


def rest_time(joint: Motion, acceleration: float, jerk: float) -> float:
    """Time until a joint that brakes now rests [s].

    Args:
        joint: motion now.
        acceleration: largest acceleration [rad/s2].
        jerk: largest jerk [rad/s3].
    """
    _, v, a = joint
    if -v < a * abs(a) / (2.0 * jerk):  # with opposite signs the velocity has to rise
        v, a = -v, -a
    peak = sqrt(max(0.5 * a * a - jerk * v, 0.0))
    if peak <= acceleration:
        return (2.0 * peak - a) / jerk
    peak = acceleration
    hold = max((-v - (peak * peak - 0.5 * a * a) / jerk) / peak, 0.0)
    return max(peak - a, 0.0) / jerk + hold + peak / jerk


def rest(joint: Motion, acceleration: float, jerk: float) -> Rest:
    """Way to rest when braking begins now.

    Args:
        joint: motion now.
        acceleration: largest acceleration [rad/s2].
        jerk: largest jerk [rad/s3].
    """
    q, v, a = joint
    if v == 0.0 and a == 0.0:
        return q, q, q
    falls = -v < a * abs(a) / (2.0 * jerk)
    if falls:  # with opposite signs the velocity has to rise
        q, v, a = -q, -v, -a
    peak = sqrt(max(0.5 * a * a - jerk * v, 0.0))
    highest = q
    if v > 0.0:  # it runs on before it turns back
        t = -(a + sqrt(max(a * a - 2.0 * jerk * v, 0.0))) / jerk
        highest = q + t * (v + t * (0.5 * a + t * jerk / 6.0))
    hold = 0.0
    if peak > acceleration:
        peak = acceleration
        hold = max((-v - (peak * peak - 0.5 * a * a) / jerk) / peak, 0.0)
    t = max((peak - a) / jerk, 0.0)
    end = q + t * (v + t * (0.5 * a + t * jerk / 6.0))
    v += t * (a + 0.5 * t * jerk)
    end += hold * (v + 0.5 * hold * peak)
    v += hold * peak
    t = peak / jerk
    end += t * (v + t * peak / 3.0)
    lowest = end if end < q else q
    return (-end, -highest, -lowest) if falls else (end, lowest, highest)
