"""Vendor units and codes of the RM75; nothing above this module knows degrees or milliamperes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arm_driver.interface import ArmSample

Array = NDArray[np.float64]

RAD_PER_DEGREE = math.pi / 180.0
RAD_PER_S_PER_RPM = 2.0 * math.pi / 60.0
AMPERE_PER_MILLIAMPERE = 1e-3

PARSE_ERROR = -3
"""``errCode`` of a push that was incomplete; also of a sound one from firmware without "err"."""

SYSTEM_ERRORS = {
    0x1001: "joint communication", 0x1002: "target outside limit",
    0x1003: "unreachable or singular", 0x1004: "real-time kernel", 0x1005: "joint bus",
    0x1006: "planner kernel", 0x1007: "joint overspeed", 0x1008: "end board missing",
    0x1009: "speed limit", 0x100A: "acceleration limit", 0x100B: "brake not released",
    0x100C: "overspeed while dragged", 0x100D: "collision", 0x100E: "no such work frame",
    0x100F: "no such tool frame", 0x1010: "joint lost enable", 0x1011: "arc planning",
    0x1012: "self collision", 0x1013: "electronic fence", 0x1014: "soft limit",
    0x2001: "gripper", 0x2002: "hand", 0x2003: "six-axis sensor", 0x2004: "one-axis sensor",
    0x2005: "output current", 0x5003: "controller hot", 0x5005: "overcurrent",
    0x5006: "undercurrent", 0x5007: "overvoltage", 0x5008: "undervoltage",
    0x5009: "real-time link",
}  # fmt: skip
"""System error codes of the JSON manual."""

JOINT_ERRORS = {
    0x0001: "FOC", 0x0002: "overvoltage", 0x0004: "undervoltage", 0x0008: "hot",
    0x0010: "start failed", 0x0020: "encoder", 0x0040: "overcurrent", 0x0080: "software",
    0x0100: "temperature sensor", 0x0200: "position over limit", 0x0400: "wrong ID",
    0x0800: "tracking", 0x1000: "current sensing", 0x2000: "brake did not open",
    0x4000: "command step", 0x8000: "turn count lost",
}  # fmt: skip
"""Joint error bits of the JSON manual."""


def fault_text(errors: Sequence[int], joint_errors: Sequence[int]) -> str:
    """All errors as text; empty when there is none.

    Args:
        errors: system error codes.
        joint_errors: error bits, joint by joint.
    """
    texts = [f"0x{code:04X} {SYSTEM_ERRORS.get(code, 'unknown')}" for code in errors]
    for joint, bits in enumerate(joint_errors, 1):
        if bits:
            names = [name for bit, name in JOINT_ERRORS.items() if bits & bit]
            texts.append(f"joint {joint} 0x{bits:04X} {' + '.join(names)}")
    return ", ".join(texts)


def joints_to_degrees(q: Array) -> list[float]:
    """Joint angles (n,) [rad] as degrees that reach the wire as round(1000 q) thousandths.

    The SDK multiplies in 32-bit floats and cuts towards zero (0.29 degrees would leave as 289);
    half a unit away from zero makes the cut exact.
    """
    thousandths = [round(value) for value in (q * (1000.0 / RAD_PER_DEGREE)).tolist()]
    return [(n + 0.5 * ((n > 0) - (n < 0))) / 1000.0 for n in thousandths]


def sample_from_push(
    push: Any, *, joints: int, sequence: int, received: float, stamp_ns: int
) -> ArmSample | None:
    """Convert one push of the SDK; None when its joints are not to be trusted.

    Args:
        push: ``rm_realtime_arm_joint_state_t``.
        joints: number of the arm's joints; the push has room for seven.
        sequence: number of the packet.
        received: monotonic receive time [s].
        stamp_ns: wall-clock receive time [ns].
    """
    status = push.joint_status
    position = _floats(status.joint_position)[:joints]
    if not np.all(np.isfinite(position)):
        return None
    # A push that broke off leaves zeros behind; one without "err" has all its joints.
    if push.errCode == PARSE_ERROR and not np.any(position):
        return None
    errors = [code for code in push.err.err[: push.err.err_len] if code]
    joint_errors = list(status.joint_err_code)[:joints]
    return ArmSample(
        sequence=sequence,
        received=received,
        stamp_ns=stamp_ns,
        position=position * RAD_PER_DEGREE,
        velocity=_floats(status.joint_speed)[:joints] * RAD_PER_S_PER_RPM,
        effort=_floats(status.joint_current)[:joints] * AMPERE_PER_MILLIAMPERE,
        wrench=_floats(push.force_sensor.zero_force),
        fault=fault_text(errors, joint_errors),
        faulty_joints=tuple(joint for joint, bits in enumerate(joint_errors, 1) if bits),
    )


def _floats(values: Any) -> Array:
    """Float64 copy of a ctypes array of C floats."""
    return np.frombuffer(values, dtype=np.float32).astype(np.float64)
