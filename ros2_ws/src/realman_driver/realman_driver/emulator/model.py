"""Numbers of the RM75-6F controller, as the unmodified SDK receives them on connecting."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

JOINTS = 7

# RM75 parameter page and the defaults of SDK 1.1.6.
_RANGE_DEG = (178.0, 130.0, 178.0, 135.0, 178.0, 128.0, 360.0)
_SPEED_DEG = (180.0, 180.0, 225.0, 225.0, 225.0, 225.0, 225.0)
# 100 RPM/s in the SDK's table; 600 deg/s2.
_ACCELERATION_DEG = 600.0

DH_ROWS: tuple[tuple[int, int, int, int], ...] = (
    (0, 0, 240500, 0),
    (-90000, 0, 0, 0),
    (90000, 0, 256000, 0),
    (-90000, 0, 0, 0),
    (90000, 0, 210000, 0),
    (-90000, 0, 0, 0),
    (90000, 0, 172500, 0),
)
"""Modified DH on the wire: alpha [0.001 deg], a and d [1e-6 m], offset; d7 is the 6F flange."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmLimits:
    """What the controller allows."""

    lower: Array
    """Lower joint limits (7,) [rad]."""
    upper: Array
    """Upper joint limits (7,) [rad]."""
    speed: Array
    """Largest joint speeds (7,) [rad/s]."""
    acceleration: Array
    """Largest joint accelerations (7,) [rad/s2]."""


RM75_LIMITS = ArmLimits(
    lower=-np.radians(_RANGE_DEG),
    upper=np.radians(_RANGE_DEG),
    speed=np.radians(_SPEED_DEG),
    acceleration=np.full(JOINTS, math.radians(_ACCELERATION_DEG)),
)


def tip_pose(q: Array) -> tuple[list[float], list[float], list[float]]:
    """Flange pose in the base frame by the DH table, in plain floats (it runs at 200 Hz).

    Args:
        q: joint angles (7,) [rad].

    Returns:
        Position [m], quaternion **wxyz** (the wire's order) and Euler angles rx, ry, rz [rad]
        with R = Rz Ry Rx.
    """
    r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]  # row-major rotation so far
    x = y = z = 0.0
    for (alpha, _, d_wire, _), angle in zip(DH_ROWS, q.tolist(), strict=True):
        c, s, d = math.cos(angle), math.sin(angle), d_wire * 1e-6
        turn = (alpha > 0) - (alpha < 0)  # sin(alpha), as alpha is 0 or +-90 degrees
        for row in (0, 3, 6):
            r0, r1, r2 = r[row : row + 3]
            if turn:  # rotate by alpha about x: new y = turn * z, new z = -turn * y
                r1, r2 = turn * r2, -turn * r1
            r[row], r[row + 1], r[row + 2] = r0 * c + r1 * s, r1 * c - r0 * s, r2
        x, y, z = x + r[2] * d, y + r[5] * d, z + r[8] * d
    euler = [
        math.atan2(r[7], r[8]),
        math.asin(max(-1.0, min(1.0, -r[6]))),
        math.atan2(r[3], r[0]),
    ]
    return [x, y, z], _quaternion_from_euler(euler), euler


def _quaternion_from_euler(euler: list[float]) -> list[float]:
    """Quaternion wxyz of Rz(rz) Ry(ry) Rx(rx)."""
    (cx, sx), (cy, sy), (cz, sz) = ((math.cos(angle / 2), math.sin(angle / 2)) for angle in euler)
    return [
        cz * cy * cx + sz * sy * sx,
        cz * cy * sx - sz * sy * cx,
        cz * sy * cx + sz * cy * sx,
        sz * cy * cx - cz * sy * sx,
    ]
