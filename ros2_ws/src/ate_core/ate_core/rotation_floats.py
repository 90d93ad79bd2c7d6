"""Rotations as plain floats: for a single one several times faster than small arrays.

A rotation is its nine entries row by row, a vector three floats. `ate_core.geometry` has the same
for arrays, and computes with these. What is no number stays so; nothing here raises for it.
"""

import math
from collections.abc import Sequence

Rotation = tuple[float, float, float, float, float, float, float, float, float]
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

SMALL_ANGLE = 1e-8
"""Below it the second-order series of a rotation is exact to double precision [rad]."""
NO_SINE = 1e-12
"""Sine of half an angle that counts as no rotation."""


def quaternion_of(rotation: Sequence[float]) -> Quaternion:
    """Quaternion xyzw with w >= 0 of a rotation (9)."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = rotation
    trace = xx + yy + zz
    # Four candidates; the one with the largest pivot loses no digits (Shepperd, 1978).
    if trace > xx and trace > yy and trace > zz:
        x, y, z, w = zy - yz, xz - zx, yx - xy, 1.0 + trace
    elif xx >= yy and xx >= zz:
        x, y, z, w = 1.0 + xx - yy - zz, yx + xy, zx + xz, zy - yz
    elif yy >= zz:
        x, y, z, w = xy + yx, 1.0 + yy - zz - xx, zy + yz, xz - zx
    else:
        x, y, z, w = xz + zx, yz + zy, 1.0 + zz - xx - yy, yx - xy
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if w < 0.0:
        norm = -norm
    return x / norm, y / norm, z / norm, w / norm


def log(rotation: Sequence[float]) -> Vector:
    """Rotation vector [rad], of length 0 to pi, of a rotation (9)."""
    x, y, z, w = quaternion_of(rotation)
    sine = math.sqrt(x * x + y * y + z * z)
    if sine < NO_SINE:
        return 0.0, 0.0, 0.0
    factor = 2.0 * math.atan2(sine, w) / sine
    return x * factor, y * factor, z * factor


def exp(vector: Sequence[float]) -> Rotation:
    """Rotation about a vector (3) by its length [rad]: I + a K + b K K (Rodrigues)."""
    x, y, z = vector
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < SMALL_ANGLE:
        a, b = 1.0, 0.5
    elif angle == math.inf:
        a = b = math.nan
    else:
        a, b = math.sin(angle) / angle, (1.0 - math.cos(angle)) / (angle * angle)
    ax, ay, az, bx, by, bz = a * x, a * y, a * z, b * x, b * y, b * z
    xx, yy, zz, xy, xz, yz = bx * x, by * y, bz * z, bx * y, bx * z, by * z
    return (
        1.0 - (yy + zz), xy - az, xz + ay,
        xy + az, 1.0 - (xx + zz), yz - ax,
        xz - ay, yz + ax, 1.0 - (xx + yy),
    )  # fmt: skip


def product(one: Rotation, other: Rotation) -> Rotation:
    """``one @ other``."""
    a, b, c, d, e, f, g, h, i = one
    j, k, m, n, o, p, q, r, s = other
    return (
        a * j + b * n + c * q, a * k + b * o + c * r, a * m + b * p + c * s,
        d * j + e * n + f * q, d * k + e * o + f * r, d * m + e * p + f * s,
        g * j + h * n + i * q, g * k + h * o + i * r, g * m + h * p + i * s,
    )  # fmt: skip


def transposed(rotation: Rotation) -> Rotation:
    """The inverse of a rotation."""
    a, b, c, d, e, f, g, h, i = rotation
    return a, d, g, b, e, h, c, f, i


def applied(rotation: Rotation, vector: Vector) -> Vector:
    """``rotation @ vector``."""
    a, b, c, d, e, f, g, h, i = rotation
    x, y, z = vector
    return a * x + b * y + c * z, d * x + e * y + f * z, g * x + h * y + i * z


def agreement(one: Rotation, other: Rotation) -> float:
    """Trace of the rotation between two: 1 + 2 cos of its angle."""
    a, b, c, d, e, f, g, h, i = one
    j, k, m, n, o, p, q, r, s = other
    return a * j + b * k + c * m + d * n + e * o + f * p + g * q + h * r + i * s


def plus(one: Vector, other: Vector) -> Vector:
    """Sum of two vectors."""
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def minus(one: Vector, other: Vector) -> Vector:
    """Difference of two vectors."""
    return one[0] - other[0], one[1] - other[1], one[2] - other[2]
