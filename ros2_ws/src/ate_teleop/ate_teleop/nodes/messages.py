"""Between what the operator's controller works with and ROS messages."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import String

from ate_core.commanders import POLICY
from ate_core.geometry import matrix_to_quaternion
from ate_core.json_text import plain_text, read_document
from ate_teleop.operator_status import OperatorStatus
from ate_teleop.replay_calibration import calibration_entry
from operator_devices.joycon_report import JoyConState
from operator_devices.link_delay import LONGEST_DELAY

Array = NDArray[np.float64]


def time_message(stamp_ns: int) -> Time:
    """ROS time [ns] as a message."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def pose_message(transform: Array, frame: str, stamp_ns: int) -> PoseStamped:
    """A transform (4, 4) as a stamped pose."""
    message = PoseStamped()
    message.header.stamp = time_message(stamp_ns)
    message.header.frame_id = frame
    position, orientation = message.pose.position, message.pose.orientation
    position.x, position.y, position.z = transform[:3, 3].tolist()
    # pin.Quaternion would leave 80 bytes behind each time.
    quaternion = matrix_to_quaternion(transform[:3, :3])
    orientation.x, orientation.y, orientation.z, orientation.w = quaternion.tolist()
    return message


def joy_message(state: JoyConState, frame: str, stamp_ns: int) -> Joy:
    """The state of a Joy-Con; order of `devices.joycon_report.BUTTONS` and `AXES`."""
    message = Joy(axes=list(state.axes), buttons=list(state.buttons))
    message.header.stamp = time_message(stamp_ns)
    message.header.frame_id = frame
    return message


def joint_message(
    names: Sequence[str], positions: Sequence[float], commander: str, stamp_ns: int
) -> JointState:
    """A command for joints [rad] or for a gripper [ratio]; the frame names the commander."""
    message = JointState(name=list(names), position=list(positions))
    message.header.stamp = time_message(stamp_ns)
    message.header.frame_id = commander
    return message


def status_message(
    side: str, status: OperatorStatus, devices: Sequence[str], more: Mapping[str, object]
) -> String:
    """The operator's status as JSON; `devices` are lines for people, `more` goes with it."""
    return String(
        data=json.dumps(
            {
                "operator": side,
                "clutch": status.clutch.value,
                "reason": status.reason,
                "tracked": status.tracked,
                "joycon": status.joycon,
                "arm": status.arm,
                "out_of_reach": status.out_of_reach,
                "joints_at_limit": list(status.limits),
                "arm_trouble": status.arm_trouble,
                "other_trouble": status.other_trouble,
                "frozen": status.frozen,
                "presses": status.presses,
                "scale": status.scale,
                "link_delay": status.link_delay,
                "battery": status.battery,
                "charging": status.charging,
                "battery_low": status.battery_low,
                "other_operator": status.other_operator,
                "force_silent": status.force_silent,
                "prompt": status.prompt,
                "calibrating": status.calibrating,
                "calibration": status.calibration,
                "calibrated": calibration_entry(status.calibrated),
                "calibrations_fitted": status.calibrations_fitted,
                "calibrations_refused": status.calibrations_refused,
                "guard": status.guard,
                "headset_trouble": status.headset_trouble,
                "joycon_trouble": status.joycon_trouble,
                "devices": list(devices),
                **more,
            }
        )
    )


def is_held(message: String) -> bool:
    """Whether a gripper's status says that it follows nobody here, and waits for a new press."""
    away = state_of(message) in ("stopped", "fault", "not_ready", "disconnected")
    return away or entry_of(message, "commander") == POLICY


def state_of(message: String) -> str:
    """What a status gives as its state; empty where it is not readable."""
    return entry_of(message, "state")


def entry_of(message: String, name: str) -> str:
    """What a status gives as one of its entries; empty where it is not readable."""
    return plain_text(read_document(message.data).get(name, ""))


def diagnostic(
    name: str, hardware: str, good: bool, text: str, **values: object
) -> DiagnosticStatus:
    """One line of diagnostics."""
    return DiagnosticStatus(
        level=DiagnosticStatus.OK if good else DiagnosticStatus.WARN,
        name=name,
        hardware_id=hardware,
        message=text,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def operator_lines(
    side: str, status: OperatorStatus, hand: str, joycon: str, not_recorded: str
) -> list[DiagnosticStatus]:
    """Lines of diagnostics of one operator, for hand, controller, clutch and the other arm.

    A line warns of what a device or a link lacks. What a person does, as a hand that rests or a
    target out of reach, is told in it and is no fault: a cell is well where nobody works.

    Args:
        side: of the operator.
        status: where operator, devices and arms stand.
        hand: what the headset says of itself.
        joycon: what the controller says of itself.
        not_recorded: why the hands are not recorded although they should; empty: all is well.
    """
    name = f"{side} operator"
    late = f"{hand}, {status.link_delay * 1e3:.0f} ms late"
    is_late = status.link_delay > LONGEST_DELAY
    flaw = "battery low, charge it" if status.battery_low else status.joycon_trouble
    no_arm = status.arm_trouble or ("" if status.arm else "the arm does not report its joints")
    advice = status.reason or ("target out of reach" if status.out_of_reach else "")
    lines = [
        diagnostic(
            f"{name}: hand",
            hand,
            not (status.headset_trouble or is_late),
            status.headset_trouble or (late if is_late else hand),
            link_delay=status.link_delay,
            tracked=status.tracked,
        ),
        diagnostic(
            f"{name}: joycon",
            joycon,
            status.joycon and not flaw,
            f"{joycon}: {flaw}" if flaw else joycon,
            battery=status.battery,
            charging=status.charging,
        ),
        diagnostic(
            f"{name}: clutch",
            name,
            not no_arm,
            "; ".join(dict.fromkeys(filter(None, (no_arm, advice)))) or status.clutch.value,
            joints_at_limit=status.limits,
        ),
        diagnostic(
            f"{name}: other arm", name, not status.other_trouble, status.other_trouble or "well"
        ),
    ]
    if not_recorded:
        lines.append(diagnostic(f"{name}: record", name, False, not_recorded))
    return lines
