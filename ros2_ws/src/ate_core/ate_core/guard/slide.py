"""How an arm slides along a surface in place of into it."""

from collections.abc import Sequence
from operator import mul, sub
from typing import NamedTuple

FLATTEST = 1e-4
"""Squared slope of a distance below which no joint changes it [m2/rad2]."""
SHORTEST = 1e-4
"""Motion of the joints that tells something of the slope [rad]."""
FARTHEST = 0.3
"""Motion of a joint over which the slope is followed [rad]."""


class Slide(NamedTuple):
    """The surface along which an arm slid in the step before."""

    entry: int
    """Its entry in a view that is not detailed."""
    pair: int
    """The pair, or the wall."""
    slope: list[float]
    """Derivative of its gap by the joints (n,) [m/rad]."""
    gap: float
    """The gap where it was seen last [m]."""
    place: list[float]
    """Posture there (n,) [rad]."""
    origin: list[float]
    """Posture at which the slope was measured (n,) [rad]."""

    def at(self, place: list[float], gap: float) -> "Slide | None":
        """The same surface at the next posture; None where the slope has to be measured anew.

        Of all slopes that explain the change of the gap it is the one nearest to that before
        (Broyden 1965).
        """
        way = list(map(sub, place, self.place))
        length = dot(way, way)
        if length < SHORTEST * SHORTEST:
            return self
        if max(map(abs, map(sub, place, self.origin))) > FARTHEST:
            return None
        missed = (gap - self.gap - dot(self.slope, way)) / length
        slope = [a + missed * b for a, b in zip(self.slope, way, strict=True)]
        return Slide(self.entry, self.pair, slope, gap, place, self.origin)

    def along(self, wanted: Sequence[float]) -> tuple[list[float], list[float]] | None:
        """Part of a velocity (n,) [rad/s] along the surface, and what parts from it by 1 m/s."""
        steepness = dot(self.slope, self.slope)
        if steepness < FLATTEST:
            return None
        away = [a / steepness for a in self.slope]
        approach = dot(self.slope, wanted)
        return [w - approach * a for w, a in zip(wanted, away, strict=True)], away


def aside(wanted: Sequence[float], slope: Sequence[float], kept: float) -> list[float] | None:
    """Velocity (n,) [rad/s] that goes along a surface in place of into it; None where it does not.

    Args:
        wanted: velocity (n,) [rad/s].
        slope: derivative of the distance by the joints (n,) [m/rad].
        kept: share of the approach that may stay.
    """
    approach, steepness = dot(slope, wanted), dot(slope, slope)
    if approach >= 0.0 or steepness < FLATTEST:
        return None
    less = approach * (1.0 - kept) / steepness
    return [w - less * a for w, a in zip(wanted, slope, strict=True)]


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    """Sum of products: for seven numbers sooner done than an array's."""
    total: float = sum(map(mul, a, b))
    return total
