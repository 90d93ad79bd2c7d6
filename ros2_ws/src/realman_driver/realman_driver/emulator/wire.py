"""Integers and text of the wire protocol, both directions."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arm_driver.plant import Measurement
from realman_driver.emulator.model import tip_pose

Array = NDArray[np.float64]

LINE_END = b"\r\n"
THOUSANDTH_DEGREES = 180000.0 / np.pi
"""Joint angles on the wire per radian."""
HUNDREDTH_RPM = 100.0 * 30.0 / np.pi
"""UDP joint speeds on the wire per rad/s."""
MILLIAMPERE_THOUSANDTHS_PER_NM = 1e6 / 10.0
"""Joint current per torque: 10 N m/A, a round figure, as the maker publishes none."""


def encode(message: dict[str, Any]) -> bytes:
    """One message as it leaves."""
    return json.dumps(message, separators=(",", ":")).encode() + LINE_END


def joints_to_wire(q: Array) -> list[int]:
    """Radians (7,) to 0.001 degrees."""
    return [round(value) for value in (q * THOUSANDTH_DEGREES).tolist()]


def joints_from_wire(values: Sequence[float]) -> Array:
    """0.001 degrees to radians (7,)."""
    return np.asarray(values, dtype=np.float64) / THOUSANDTH_DEGREES


def pose_to_wire(q: Array) -> tuple[list[int], list[int], list[int]]:
    """Flange position [1e-6 m], quaternion wxyz [1e-6] and Euler angles [0.001 rad]."""
    position, quaternion, euler = tip_pose(q)
    return (
        [round(v * 1e6) for v in position],
        [round(v * 1e6) for v in quaternion],
        [round(v * 1e3) for v in euler],
    )


def wrench_to_wire(wrench: Array) -> list[int]:
    """Newtons and newton metres to thousandths."""
    return [round(value) for value in (wrench * 1e3).tolist()]


def current_to_wire(torque: Array) -> list[int]:
    """Torques [N m] to motor currents [0.001 mA]."""
    return [round(v) for v in (torque * MILLIAMPERE_THOUSANDTHS_PER_NM).tolist()]


_PUSH = (
    '{"state":"realtime_arm_joint_state","arm_current_status":"%s","arm_err":%d,"sys_err":%d,'
    '"err":%s,"joint_status":{"joint_current":%s,"joint_en_flag":%s,"joint_err_code":%s,'
    '"joint_position":%s,"joint_temperature":[32000,32000,32000,32000,32000,32000,32000],'
    '"joint_voltage":%s,"joint_speed":%s},'
    '"six_force_sensor":{"force":%s,"zero_force":%s,"coordinate":%d},'
    '"waypoint":{"euler":%s,"position":%s,"quat":%s}}\r\n'
)
_NOT_NUMBERS = "[NaN,NaN,NaN,NaN,NaN,NaN,NaN]"


def encode_push(
    measured: Measurement,
    wrench_offset: Array,
    *,
    status: str,
    errors: list[int],
    joint_errors: list[int],
    joint_enabled: list[bool],
    coordinate: int,
    tick: int = 0,
    not_numbers: bool = False,
) -> bytes:
    """One state datagram. Lists print as JSON already, so a template is enough (200 Hz)."""
    position, quaternion, euler = pose_to_wire(measured.q)
    error = errors[0] if errors else 0
    text = _PUSH % (
        status,
        error,
        error,
        errors or [0],
        current_to_wire(measured.torque),
        [int(flag) for flag in joint_enabled],
        joint_errors,
        _NOT_NUMBERS if not_numbers else joints_to_wire(measured.q),
        [24000 + tick % 2] * 7,  # as on a live arm, no two packets are alike
        [round(v) for v in (measured.qd * HUNDREDTH_RPM).tolist()],
        wrench_to_wire(measured.wrench),
        wrench_to_wire(measured.wrench - wrench_offset),
        coordinate,
        euler,
        position,
        quaternion,
    )
    return text.encode()
