"""What is seen of the surroundings at one posture, and how much of a step that leaves."""

from typing import NamedTuple

TOLERANCE = 1e-6
"""Change of a distance that counts as none [m]: the accuracy of the distances."""
TOLERANCE_INSIDE = 1e-8
"""The same for a pair that is too near: many steps must not add up [m]."""


class View(NamedTuple):
    """Distances at one posture; an entry is the nearest pair of a kind, one pair, or a wall."""

    gaps: list[float]
    """Distances less the stop distance of their kind (m,) [m]; beyond the slow zone a bound."""
    widths: list[float]
    """Widths of the slow zones (m,) [m]."""
    pairs: tuple[int, ...]
    """Nearest pair of each kind."""
    detailed: frozenset[int]
    """Kinds of which each pair is an entry."""
    sizes: tuple[int, ...] = ()
    """Entries of each kind, where some kind is detailed."""

    def source(self, entry: int) -> tuple[int, int]:
        """Kind and pair of an entry; of a wall -1 and its number."""
        if not self.detailed:
            count = len(self.pairs)
            return (entry, self.pairs[entry]) if entry < count else (-1, entry - count)
        for kind, size in enumerate(self.sizes):
            if entry < size:
                return (kind, entry if kind in self.detailed else self.pairs[kind])
            entry -= size
        return -1, entry


NOTHING = View(gaps=[], widths=[], pairs=(), detailed=frozenset())
"""View before the first."""


def tightest(here: View, there: View, reach: float) -> tuple[float, int]:
    """Share of the way from one stopping posture to the next that is allowed, and by what.

    Plain numbers: there are about ten entries, too few for arrays to pay.

    Args:
        here: view of the one.
        there: view of the next.
        reach: way of the tool in the step at the most [m].
    """
    least, tightest = 1.0, 0
    for entry, (gap, then, width) in enumerate(
        zip(here.gaps, there.gaps, here.widths, strict=True)
    ):
        if then >= gap or then >= width:
            continue
        allowed = floor(gap, width, reach)
        if then < allowed:
            share = (gap - allowed) / (gap - then)
            if share < least:
                least, tightest = share, entry
    return least, tightest


def floor(gap: float, width: float, reach: float) -> float:
    """Smallest gap [m] that a step may leave of a gap.

    Args:
        gap: gap before the step [m].
        width: width of its slow zone [m].
        reach: way of the tool in the step at the most [m].
    """
    if gap > 0.0:
        return min(gap, width) * (1.0 - min(reach / width, 1.0)) - TOLERANCE
    return gap - TOLERANCE_INSIDE
