"""What distances measured before still say after the arms have moved on."""

import math
from collections.abc import Sequence
from operator import mul, sub

UNMOVED = 1e-9
"""Change of a distance that counts as none [m]."""
_FAR = 100.0
"""A joint angle at which nothing was measured [rad]."""


class Clearances:
    """Gap of each kind of pairs where it was measured last, and its least elsewhere.

    Plain numbers: there are few kinds and joints, and on a tick that finds cold caches an array
    costs more than a dozen products. A place is a posture of all joints of the cell [rad].
    """

    def __init__(self, levers: Sequence[Sequence[float]]) -> None:
        """Begin without a measurement.

        Args:
            levers: for each kind how much nearer a radian of each joint brings it at most [m].
        """
        # Only the joints that move a kind count; those of an arm are in one row.
        self._moving = [_moving(row) for row in levers]
        self._levers = [list(row[part]) for row, part in zip(levers, self._moving, strict=True)]
        self._gaps = [-math.inf] * len(levers)
        self._places = [[_FAR] * len(row) for row in self._levers]

    def note(self, kind: int, gap: float, place: list[float]) -> None:
        """Take a measurement [m] at a place."""
        self._gaps[kind] = gap
        self._places[kind] = place[self._moving[kind]]

    def all(self, place: list[float]) -> list[float]:
        """`least` of every kind [m]."""
        return [
            gap - sum(map(mul, map(abs, map(sub, place[moving], measured)), row))
            for gap, measured, row, moving in zip(
                self._gaps, self._places, self._levers, self._moving, strict=True
            )
        ]

    def least(self, kind: int, place: list[float]) -> float:
        """Gap that a kind has at a place at least [m]."""
        moved = map(abs, map(sub, place[self._moving[kind]], self._places[kind]))
        lost: float = sum(map(mul, moved, self._levers[kind]))
        return self._gaps[kind] - lost

    def most(self, kind: int, place: list[float]) -> float:
        """Gap that a kind has at a place at most [m]."""
        return 2.0 * self._gaps[kind] - self.least(kind, place)

    def is_exact(self, kind: int, least: float) -> bool:
        """Whether the least of a kind is what was measured at that very place."""
        return self._gaps[kind] - least <= UNMOVED


def _moving(levers: Sequence[float]) -> slice:
    """Joints from the first to the last that has a lever."""
    moving = [joint for joint, lever in enumerate(levers) if lever != 0.0] or [0]
    return slice(moving[0], moving[-1] + 1)
