"""A pose whose numbers are read once, as plain floats, for all who ask something of it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core import rotation_floats
from ate_core.rotation_floats import Rotation, Vector

Matrix = NDArray[np.float64]

ROTATION_TOLERANCE = 1e-3
"""Largest entry of R R^T - 1 in a proper rotation; float32 on the wire leaves about 1e-6."""
ROUNDING = 1e-5
"""Difference of two entries [m, rad] that still is one pose; the noise of a live one is 5e-5."""


@dataclass(slots=True, eq=False)
class PlainPose:
    """One (4, 4) matrix and its entries."""

    matrix: Matrix
    """(4, 4), as it was given."""
    entries: list[float]
    """Its sixteen numbers, row by row."""
    place: Vector
    """Its translation [m]."""
    turn: Rotation
    """Its rotation, row by row."""

    @classmethod
    def of(cls, matrix: Matrix) -> "PlainPose":
        """Read a matrix (4, 4)."""
        entries = matrix.ravel().tolist()
        a, b, c, x, d, e, f, y, g, h, i, z, *_ = entries
        return cls(matrix, entries, (x, y, z), (a, b, c, d, e, f, g, h, i))

    def equals(self, other: "PlainPose") -> bool:
        """Whether both have the same sixteen numbers."""
        return self.entries == other.entries

    def differs(self, other: "PlainPose") -> bool:
        """Whether any of their numbers differ by more than rounding makes: a thing moved."""
        pairs = zip(self.entries, other.entries, strict=True)
        return any(abs(one - its) > ROUNDING for one, its in pairs)

    def distance(self, other: "PlainPose") -> float:
        """Between the two places [m]."""
        return math.dist(self.place, other.place)

    def angle(self, other: "PlainPose") -> float:
        """Between the two rotations [rad]."""
        cosine = 0.5 * (rotation_floats.agreement(self.turn, other.turn) - 1.0)
        return math.acos(max(-1.0, min(1.0, cosine)))

    def is_rigid(self) -> bool:
        """Whether it is finite, and a proper rotation with a translation beside it."""
        (a, b, c, d, e, f, g, h, i), limit = self.turn, ROTATION_TOLERANCE
        is_orthonormal = (  # nothing but numbers passes a comparison
            abs(a * a + b * b + c * c - 1.0) < limit
            and abs(d * d + e * e + f * f - 1.0) < limit
            and abs(g * g + h * h + i * i - 1.0) < limit
            and abs(a * d + b * e + c * f) < limit
            and abs(a * g + b * h + c * i) < limit
            and abs(d * g + e * h + f * i) < limit
        )
        left, middle, right, corner = self.entries[12:]
        has_last_row = (  # not so in a transposed one
            abs(left) < limit
            and abs(middle) < limit
            and abs(right) < limit
            and abs(corner - 1.0) < limit
        )
        determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
        return (
            is_orthonormal
            and has_last_row
            and determinant > 0.0
            and all(map(math.isfinite, self.place))
        )
