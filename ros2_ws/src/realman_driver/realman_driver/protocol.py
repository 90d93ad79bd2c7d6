"""Vendor units and codes of the RM75; nothing above this module knows degrees or milliamperes."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from arm_driver.interface import ArmIdentity, ArmSample
from realman_driver.push import Push
from realman_driver.records import Identity

Array = NDArray[np.float64]

RAD_PER_DEGREE = math.pi / 180.0
RAD_PER_ANGLE = RAD_PER_DEGREE / 1000.0
"""Of one unit of an angle on the wire."""
RAD_PER_S_PER_SPEED = 2.0 * math.pi / 60.0 / 100.0
"""Of one unit of a joint speed in a state packet: 0.01 RPM."""
AMPERE_PER_CURRENT = 1e-6
"""Of one unit of a motor current on the wire: 0.001 mA."""

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
    push: Push, *, sequence: int, received: float, stamp_ns: int
) -> ArmSample | None:
    """Convert one state packet; None when its joints are not to be trusted.

    Args:
        push: what the packet says.
        sequence: number of the packet.
        received: monotonic receive time [s].
        stamp_ns: wall-clock receive time [ns].
    """
    if not push.position or not all(map(math.isfinite, push.position)):
        return None
    return ArmSample(
        sequence=sequence,
        received=received,
        stamp_ns=stamp_ns,
        position=np.array(push.position) * RAD_PER_ANGLE,
        velocity=np.array(push.speed) * RAD_PER_S_PER_SPEED,
        effort=np.array(push.current) * AMPERE_PER_CURRENT,
        wrench=np.array(push.zero_force) * 1e-3 if push.zero_force else None,
        fault=fault_text(push.errors, push.joint_errors),
        faulty_joints=tuple(n for n, bits in enumerate(push.joint_errors, 1) if bits),
        mode=push.mode,
    )


def identity_from_record(record: Identity, name: str, misfit: str) -> ArmIdentity:
    """What the controller said of itself, in SI units.

    Args:
        record: as the link process read it.
        name: address of the controller.
        misfit: why it is not the cell's arm.
    """
    return ArmIdentity(
        name=name,
        joints=record.joints,
        lower=np.radians(record.lower[: record.joints]),
        upper=np.radians(record.upper[: record.joints]),
        model=record.product,
        firmware=record.firmware,
        misfit=misfit,
    )
