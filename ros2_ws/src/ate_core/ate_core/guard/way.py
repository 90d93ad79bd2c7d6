"""How near an arm comes to its surroundings while it brakes to rest."""

import math
from collections.abc import Sequence
from operator import lt, sub
from typing import NamedTuple

from ate_core.guard.surroundings import Surroundings
from ate_core.guard.view import TOLERANCE, View
from ate_core.motion_profile import Motion

LONGEST_PIECE = 0.06
"""Motion of a joint between two postures looked at on the way to rest [rad]: 5 cm at the tool of
a stretched RM75, less than what two grippers measure where they are thinnest."""
MOST_PIECES = 24
"""Pieces of the way to rest at most: enough for a joint that needs 1 rad to stop, the most that
`ate_core.stream_checks` lets one have."""

FLAT = 2e-5
"""How much nearer to a surface than at its ends the first piece may come without a look [m]."""


class _Look(NamedTuple):
    """A posture on the way."""

    time: float
    """Time of braking [s]."""
    posture: Sequence[float]
    """The posture (n,) [rad]."""
    height: float
    """Smallest gap there to what the arm may slide along [m]; infinite where it is far."""


class WayToRest:
    """The way of an arm from a step to where it comes to rest, beside its surroundings.

    The joints brake alike but come to rest at different times, so the way is no straight line.
    """

    def __init__(
        self,
        around: Surroundings,
        motions: Sequence[Motion],
        turns: Sequence[float],
        rest: Sequence[float],
        there: View,
    ) -> None:
        """Take the way.

        Args:
            around: what the arm must not touch.
            motions: of each joint when it begins to brake (n).
            turns: how far each joint is at most from where it stops (n,) [rad].
            rest: where the arm stops (n,) [rad].
            there: view of ``rest``.
        """
        self._around, self._motions, self._turns = around, motions, turns
        self._rest, self._there, self._here = rest, there, there
        self._left = [] if there.detailed else around.left(turns, there)
        self._surfaces: list[int] = []
        self._is_beside_other = False
        self._least, self._enough, self._looks = min(there.gaps), 0.0, 0

    def surely_left(self) -> float:
        """What `least_gap` finds at least [m], told without a look; not positive where unknown."""
        return min(self._left, default=0.0)

    def least_gap(self, here: View, enough: float) -> float:
        """Smallest gap [m] on the way, its end included; -inf where it is not allowed.

        Args:
            here: view of where the arm stops when it brakes now.
            enough: gap above which it does not matter how large it is [m].
        """
        around, there, self._here = self._around, self._there, here
        watched = self._nearing(max(min(self._least, enough), 0.0))
        if not watched:
            return self._least
        self._surfaces, self._is_beside_other = around.beside(there, watched)
        end, pieces = self._pieces()
        self._enough = max(enough, 0.0)
        height = math.inf
        if self._surfaces:
            height = min([there.gaps[entry] for entry in self._surfaces])
            sag = around.sag([2.0 * turn / pieces for turn in self._turns])
            self._enough = max(self._enough, sag)
        # The last comes first: where the arm comes to rest was just seen, and tells of it most.
        later = _Look(end, self._rest, height)
        for piece in range(pieces - 1, 0, -1):
            earlier = self._look(end * piece / pieces, watched)
            if self._surfaces:
                self._look_between(earlier, later)
            if self._least == -math.inf:
                break
            later = earlier
        if self._surfaces and self._least > -math.inf:
            way = [q - at for at, (q, _, _) in zip(later.posture, self._motions, strict=True)]
            if around.sag(way) > FLAT:
                self._look_between(self._look(0.0, self._surfaces), later)
        if self._is_beside_other:
            around.place_other_at_rest()
        return self._least

    def _look(self, time: float, entries: list[int]) -> _Look:
        """Look at some entries after some time of braking [s]."""
        around, here = self._around, self._here
        self._looks += 1
        if self._is_beside_other:
            around.place_other_after(time)
        posture = around.braked(self._motions, time)
        if self._there.detailed:
            gaps = around.look(posture, here).gaps
        else:
            gaps = around.gaps(posture, entries, self._enough)
        allowed = [min(here.gaps[entry], 0.0) - TOLERANCE for entry in entries]
        self._least = -math.inf if any(map(lt, gaps, allowed)) else min(self._least, *gaps)
        if not self._surfaces:
            return _Look(time, posture, math.inf)
        pairs = zip(entries, gaps, strict=True)
        return _Look(time, posture, min([gap for entry, gap in pairs if entry in self._surfaces]))

    def _look_between(self, earlier: _Look, later: _Look) -> None:
        """Look where the arm may come nearer to a surface than at both ends of a piece."""
        lowest = min(earlier.height, later.height)
        if self._least == -math.inf or self._looks >= MOST_PIECES:
            return
        if lowest >= self._around.sag(list(map(sub, later.posture, earlier.posture))):
            return
        middle = self._look(0.5 * (earlier.time + later.time), self._surfaces)
        self._look_between(middle, later)
        self._look_between(earlier, middle)

    def _pieces(self) -> tuple[float, int]:
        """Time [s] until the arm rests, the other one too where it matters, and its pieces."""
        turn, time = max(self._turns), self._around.rest_time(self._motions)
        their_turn, their_time = self._around.other_way() if self._is_beside_other else (0.0, 0.0)
        end = max(time, their_time)
        ways = ((turn, time), (their_turn, their_time))
        longest = end * max((way / passed for way, passed in ways if passed), default=0.0)
        return end, min(max(math.ceil(longest / LONGEST_PIECE), 2), MOST_PIECES)

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
