"""What must fit together in time and speed between the stream of an arm, its device and filter.

Checks of `ate_core.cell_checks`: one sentence per problem.
"""

import numpy as np

from ate_core.checked_cell import Cell, Problems
from ate_core.drivers import STREAM_RATES
from ate_core.motion_profile import rest
from ate_core.stream_wall import FASTEST_JOINT, LARGEST_STEP_DEG, LONGEST_ADVANCE

LIMIT_TOLERANCE = 1e-3
"""How far a cell's limit may lie outside the model's: files hold rounded numbers [rad, rad/s]."""
BRAKING_ANGLE = 1.0
"""Largest angle that a joint may need to stop from its largest speed [rad]."""
PRIVILEGED_PORTS = 1024
"""Ports below need rights that a driver does not have."""


def stream_rates(cell: Cell) -> Problems:
    """A controller that takes no stream of this rate."""
    stream = cell.rates.arm_stream
    for side, arm in cell.arms.items():
        low, high = STREAM_RATES.get(arm.driver, (0.0, np.inf))
        if not low <= stream <= high:
            yield (
                f"rates.arm_stream is {stream:g} Hz; the driver {arm.driver} of the {side} arm "
                f"needs {low:g} to {high:g} Hz: its controller wants steady targets, one each "
                f"{1e3 / high:g} to {1e3 / low:g} ms"
            )


def pushes(cell: Cell) -> Problems:
    """States that come too seldom, or to a port that no driver may open."""
    for side, arm in cell.arms.items():
        if arm.driver != "realman":
            continue
        if arm.udp_port < PRIVILEGED_PORTS:
            yield (
                f"arms.{side}.udp_port is {arm.udp_port}; need {PRIVILEGED_PORTS} to 65535, such "
                "as 8089: ports below belong to the system"
            )
        cycle = arm.udp_cycle_ms / 1e3
        if 3.0 * cycle > cell.safety.feedback_timeout:
            yield (
                f"arms.{side}.udp_cycle_ms is {arm.udp_cycle_ms} ms; need at most a third of "
                f"safety.feedback_timeout ({cell.safety.feedback_timeout:g} s), or one lost "
                "packet stops the arm"
            )
        if cell.rates.arm_state * cycle > 1.0 + 1e-9:
            yield (
                f"rates.arm_state is {cell.rates.arm_state:g} Hz; the {side} arm pushes its state "
                f"at {1.0 / cycle:g} Hz (udp_cycle_ms {arm.udp_cycle_ms}): no more can be had"
            )


def timeouts(cell: Cell) -> Problems:
    """Time limits that every period breaks: they stop the arms for ever."""
    safety, rates = cell.safety, cell.rates
    for entry, limit, what, rate in (
        ("command_timeout", safety.command_timeout, "teleop", rates.teleop),
        ("command_timeout", safety.command_timeout, "arm_stream", rates.arm_stream),
        ("feedback_timeout", safety.feedback_timeout, "arm_stream", rates.arm_stream),
        ("stamp_max_age", safety.stamp_max_age, "arm_stream", rates.arm_stream),
    ):
        if limit * rate < 2.0:
            yield (
                f"safety.{entry} is {limit:g} s; need two periods of rates.{what} "
                f"({2.0 / rate:.3g} s), or the arms hold after each one"
            )


def steps(cell: Cell) -> Problems:
    """Speeds with which a late tick makes a step that the driver of the arm refuses."""
    speed = cell.safety.max_joint_speed
    for side, arm in cell.arms.items():
        if arm.driver == "realman" and min(speed, max(arm.joint_speed)) > FASTEST_JOINT:
            yield (
                f"safety.max_joint_speed is {speed:g} rad/s; the driver {arm.driver} of the "
                f"{side} arm sends no target further than {LARGEST_STEP_DEG:g} degrees from the "
                f"last, and a tick may be {LONGEST_ADVANCE * 1e3:.0f} ms late: give at most "
                f"{FASTEST_JOINT:.3g} rad/s"
            )


def braking(cell: Cell) -> Problems:
    """Speeds that no joint has, or from which the arm does not stop in reasonable time."""
    safety = cell.safety
    speed, braking, jerk = (
        safety.max_joint_speed,
        safety.max_joint_acceleration,
        safety.max_joint_jerk,
    )
    fastest = max(max(arm.joint_speed) for arm in cell.arms.values())
    if speed > fastest + LIMIT_TOLERANCE:
        yield (
            f"safety.max_joint_speed is {speed:g} rad/s; no joint of the cell is faster than "
            f"{fastest:g} rad/s (joint_speed): give at most that"
        )
    angle = rest((0.0, min(speed, fastest), 0.0), braking, jerk)[0]
    if angle > BRAKING_ANGLE:
        yield (
            f"safety.max_joint_acceleration is {braking:g} rad/s^2, max_joint_jerk {jerk:g} "
            f"rad/s^3: to stop from {speed:g} rad/s takes {angle:.2g} rad; need at most "
            f"{BRAKING_ANGLE:g} rad, brake harder or go slower"
        )
