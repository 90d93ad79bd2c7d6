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
        self._levers = [list(row) for row in levers]
        self._gaps = [-math.inf] * len(levers)
        self._places = [[_FAR] * len(row) for row in levers]

    def note(self, kind: int, gap: float, place: list[float]) -> None:
        """Take a measurement [m] at a place."""
        self._gaps[kind] = gap
        self._places[kind] = place

    def all(self, place: list[float]) -> list[float]:
        """`least` of every kind [m]."""
        return [
            gap - sum(map(mul, map(abs, map(sub, place, measured)), row))
            for gap, measured, row in zip(self._gaps, self._places, self._levers, strict=True)
        ]

    def least(self, kind: int, place: list[float]) -> float:
        """Gap that a kind has at a place at least [m]."""
        moved = map(abs, map(sub, place, self._places[kind]))
        lost: float = sum(map(mul, moved, self._levers[kind]))
        return self._gaps[kind] - lost

    def is_exact(self, kind: int, least: float) -> bool:
        """Whether the least of a kind is what was measured at that very place."""
        return self._gaps[kind] - least <= UNMOVED
