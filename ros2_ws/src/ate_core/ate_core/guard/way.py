"""How near an arm comes to its surroundings while it brakes to rest."""

import math
from collections.abc import Iterator, Sequence
from operator import lt, sub

from ate_core.guard.surroundings import Surroundings
from ate_core.guard.view import TOLERANCE, View

LONGEST_PIECE = 0.06
"""Motion of a joint between two postures looked at on the way to rest [rad]: 5 cm at the tool of
a stretched RM75, less than what two grippers measure where they are thinnest."""
MOST_PIECES = 4
"""Pieces of the way to rest at most."""
SLOWEST = 0.02
"""Speed below which the time to rest is not taken from it [rad/s]."""


class WayToRest:
    """The way of an arm from a posture to where it comes to rest, beside its surroundings.

    The joints brake alike but come to rest at different times, so the way is no straight line.
    """

    def __init__(
        self, around: Surroundings, place: Sequence[float], rest: Sequence[float], there: View
    ) -> None:
        """Take the way.

        Args:
            around: what the arm must not touch.
            place: posture now (n,) [rad].
            rest: where it stops (n,) [rad].
            there: view of ``rest``.
        """
        self._around, self._place, self._there = around, place, there
        self._way = list(map(sub, rest, place))
        self._left = [] if there.detailed else around.left(self._way, there)

    def surely_left(self) -> float:
        """What `least_gap` finds at least [m], told without a look; not positive where unknown."""
        return min(self._left, default=0.0)

    def least_gap(self, velocity: Sequence[float], here: View, enough: float) -> float:
        """Smallest gap [m] on the way, its end included; -inf where it is not allowed.

        Args:
            velocity: velocity now (n,) [rad/s].
            here: view of where the arm stops when it brakes now.
            enough: gap above which it does not matter how large it is [m].
        """
        around, there = self._around, self._there
        least = min(there.gaps)
        watched = self._nearing(max(min(least, enough), 0.0))
        if not watched:
            return least
        allowed = [min(here.gaps[entry], 0.0) - TOLERANCE for entry in watched]
        longest = max(*map(abs, self._way), around.other_turn())
        pieces = min(max(math.ceil(longest / LONGEST_PIECE), 2), MOST_PIECES)
        for share, gone in _braking(self._way, velocity, pieces):
            around.place_other_on_way((1.0 - share) ** 2)
            posture = [
                a + part * b for a, part, b in zip(self._place, gone, self._way, strict=True)
            ]
            if there.detailed:
                gaps = around.look(posture, here).gaps
            else:
                gaps = around.gaps(posture, watched, max(enough, 0.0))
            least = min(least, *gaps)
            if any(map(lt, gaps, allowed)):
                least = -math.inf
                break
        around.place_other_on_way(0.0)
        return least

    def _nearing(self, least: float) -> list[int]:
        """Entries that may come below a gap [m]; none where nothing may come below its stop."""
        there = self._there
        if there.detailed:
            return list(range(len(there.gaps)))
        *left, wall = self._left
        if min(*left, wall) >= 0.0:
            return []
        nearing = [kind for kind, gap in enumerate(left) if gap < least]
        if wall < least:
            nearing += range(len(left), len(there.gaps))
        return nearing


def _braking(
    ways: Sequence[float], velocities: Sequence[float], pieces: int
) -> Iterator[tuple[float, list[float]]]:
    """Share of the time and of each joint's way that has passed after each piece but the last.

    The last comes first: where the arm comes to rest was just looked at, and tells of it most.

    A joint that brakes evenly from v needs the time 2 s / v for its way s.
    """
    times = [
        max(2.0 * abs(way) / max(abs(speed), SLOWEST), 1e-9)
        for way, speed in zip(ways, velocities, strict=True)
    ]
    last = max(times)
    for piece in range(pieces - 1, 0, -1):
        share = piece / pieces
        yield share, [1.0 - max(1.0 - share * last / time, 0.0) ** 2 for time in times]
