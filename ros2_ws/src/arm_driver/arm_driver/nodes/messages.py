"""Samples and states of the driver as ROS messages."""

from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
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
    "stopped": DiagnosticStatus.WARN,
    "holding": DiagnosticStatus.WARN,
}


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


def diagnostics(
    status: DriverStatus | None, part: str, hardware_id: str, values: Mapping[str, str]
) -> DiagnosticArray:
    """Diagnostics of one arm; the caller sets the stamp."""
    state = "disconnected" if status is None else status.state
    reason = "" if status is None else status.reason
    entry = DiagnosticStatus(
        level=LEVELS.get(state, DiagnosticStatus.OK),
        name=f"driver_node: {part}",
        message=f"{state} {reason}".strip(),
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(status=[entry])
