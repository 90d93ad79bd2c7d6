"""Samples and states of the driver as ROS messages."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, WrenchStamped
from numpy.typing import NDArray
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from arm_driver.driver import DriverStatus
from arm_driver.interface import ArmSample

LEVELS = {
    "disconnected": DiagnosticStatus.STALE,
    "no_feedback": DiagnosticStatus.STALE,
    "fault": DiagnosticStatus.ERROR,
    "not_ready": DiagnosticStatus.WARN,
    "stopped": DiagnosticStatus.WARN,
    "holding": DiagnosticStatus.WARN,
}
HOT = 65.0
"""Joint temperature that is worth a warning [deg C]."""
TOLD_AGE = 1.0
"""Age from which a state is not told of any more as if it were the present one [s]."""


def joint_state(sample: ArmSample, stamp: Time, names: Sequence[str]) -> JointState:
    """Joints [rad, rad/s] and effort, motor currents [A] or torques [N m]."""
    message = JointState(name=list(names))
    message.header.stamp = stamp
    message.position = sample.position.tolist()
    message.velocity = sample.velocity.tolist()
    message.effort = sample.effort.tolist()
    return message


def wrench(values: NDArray[np.float64], stamp: Time, frame: str) -> WrenchStamped:
    """Zeroed wrench (6,) [N, N m] in the tool frame."""
    message = WrenchStamped()
    message.header.stamp = stamp
    message.header.frame_id = frame
    force, torque = message.wrench.force, message.wrench.torque
    force.x, force.y, force.z, torque.x, torque.y, torque.z = values.tolist()
    return message


def pose(values: NDArray[np.float64], stamp: Time, frame: str) -> PoseStamped:
    """Pose (POSE_SIZE,) x y z qx qy qz qw."""
    message = PoseStamped()
    message.header.stamp = stamp
    message.header.frame_id = frame
    at, turn = message.pose.position, message.pose.orientation
    at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w = values.tolist()
    return message


def answer(response: Trigger.Response, refusal: str) -> Trigger.Response:
    """Answer of a service; an empty refusal means done."""
    response.success = not refusal
    response.message = refusal
    return response


def arm_diagnostics(
    status: DriverStatus | None,
    not_active: str,
    part: str,
    hardware_id: str,
    values: Mapping[str, str],
) -> DiagnosticStatus:
    """Diagnostics of one arm.

    Args:
        status: of the driver; None before it was started.
        not_active: why the node is not active; empty while it is.
        part: which arm.
        hardware_id: which device.
        values: rates, ages, counters.
    """
    state = "not started" if status is None else status.state
    reason = not_active if status is None or not status.reason else status.reason
    level = DiagnosticStatus.ERROR if status is None else LEVELS.get(state, DiagnosticStatus.OK)
    told = dict(values)
    if status is not None:
        told |= {
            key: str(value)
            for key, value in dataclasses.asdict(status).items()
            if key not in ("state", "reason") and value not in ("", ())
        }
    return _entry(level, part, f"{state} {reason}".strip(), hardware_id, told)


def joint_diagnostics(
    sample: ArmSample, age: float, names: Sequence[str], part: str, hardware_id: str
) -> DiagnosticStatus:
    """Temperatures, voltages, enable flags and errors of the joints, as far as they are told.

    Args:
        sample: newest state.
        age: of it [s]; of one older than `TOLD_AGE` nothing but this is told.
        names: joints.
        part: which arm.
        hardware_id: which device.
    """
    if age > TOLD_AGE:
        return _entry(DiagnosticStatus.STALE, part, f"no state for {age:.1f} s", hardware_id, {})
    values, troubles = {}, []
    for index, name in enumerate(names):
        if sample.temperature is not None:
            value = float(sample.temperature[index])
            values[f"{name} temperature"] = f"{value:.1f} deg C"
            if value >= HOT:
                troubles.append(f"{name} has {value:.0f} deg C, bound {HOT:.0f}: let it cool")
        if sample.voltage is not None:
            values[f"{name} voltage"] = f"{sample.voltage[index]:.1f} V"
        if sample.enabled:
            values[f"{name} enabled"] = str(bool(sample.enabled[index])).lower()
            if not sample.enabled[index]:
                troubles.append(f"{name} is disabled")
        if index + 1 in sample.faulty_joints:
            troubles.append(f"{name} reports an error")
    values["mode"] = sample.mode or "not told"
    if sample.fault:
        values["fault"] = sample.fault
    level = DiagnosticStatus.WARN if troubles else DiagnosticStatus.OK
    if sample.fault or sample.faulty_joints:
        level = DiagnosticStatus.ERROR
    return _entry(level, part, "; ".join(troubles) or sample.fault or "ok", hardware_id, values)


def _entry(
    level: bytes, part: str, message: str, hardware_id: str, values: Mapping[str, str]
) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=level,
        name=f"driver_node: {part}",
        message=message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
