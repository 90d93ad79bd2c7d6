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


def move_event(arrived: bool) -> dict[str, Any]:
    """What is told at the end of a planned move."""
    return {
        "state": "current_trajectory_state",
        "trajectory_state": arrived,
        "device": 0,
        "trajectory_connect": 0,
    }


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


JOINT_FIELDS = (
    "joint_current", "joint_en_flag", "joint_err_code", "joint_position", "joint_temperature",
    "joint_voltage", "joint_speed",
)  # fmt: skip
FORCE_FIELDS = ("force", "zero_force")
_PUSH = (
    '{"state":"realtime_arm_joint_state","arm_current_status":"%s","arm_err":%d,"sys_err":%d,'
    '"err":%s,"joint_status":{'
    + ",".join(f'"{name}":%s' for name in JOINT_FIELDS)
    + '},"six_force_sensor":{"force":%s,"zero_force":%s,"coordinate":%d},'
    '"waypoint":{"euler":%s,"position":%s,"quat":%s}}\r\n'
)


def push_fields(
    measured: Measurement,
    wrench_offset: Array,
    *,
    errors: list[int],
    joint_errors: list[int],
    joint_enabled: list[bool],
    tick: int = 0,
) -> dict[str, object]:
    """The lists of one state datagram by name; lists print as JSON already."""

    def noisy(values: list[int]) -> list[int]:  # as on a live arm, no two packets are alike
        return [value + (tick + place) % 3 - 1 for place, value in enumerate(values)]

    return {
        "err": errors or [0],
        "joint_current": noisy(current_to_wire(measured.torque)),
        "joint_en_flag": [int(flag) for flag in joint_enabled],
        "joint_err_code": joint_errors,
        "joint_position": joints_to_wire(measured.q),
        "joint_temperature": [32000] * 7,
        "joint_voltage": [24000 + tick % 2] * 7,
        "joint_speed": [round(v) for v in (measured.qd * HUNDREDTH_RPM).tolist()],
        "force": noisy(wrench_to_wire(measured.wrench)),
        "zero_force": noisy(wrench_to_wire(measured.wrench - wrench_offset)),
    }


def encode_push(fields: dict[str, object], q: Array, *, status: str, coordinate: int) -> bytes:
    """One state datagram. A template is enough (200 Hz).

    Args:
        fields: of `push_fields`.
        q: joint angles (7,) [rad], for the pose.
        status: ``arm_current_status``.
        coordinate: frame of the zeroed force.
    """
    position, quaternion, euler = pose_to_wire(q)
    errors = fields["err"]
    first = errors[0] if isinstance(errors, list) and errors else 0
    error = first if isinstance(first, int) else 0
    text = _PUSH % (
        status,
        error,
        error,
        errors,
        *(fields[name] for name in JOINT_FIELDS),
        *(fields[name] for name in FORCE_FIELDS),
        coordinate,
        euler,
        position,
        quaternion,
    )
    return text.encode()
