"""What one arm must not touch, seen from a posture of it, and what it may do there."""

import math
from collections.abc import Iterator, Sequence
from operator import lt, sub
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ate_core.arm_model import load_arm_model
from ate_core.contract import Cell
from ate_core.guard.geometry import CellGeometry
from ate_core.guard.other_arm import OtherState
from ate_core.guard.shapes import levers, load_gripper

Array = NDArray[np.float64]

TOLERANCE = 1e-6
"""Change of a distance that counts as none [m]: the accuracy of the distances."""
TOLERANCE_INSIDE = 1e-8
"""The same for a pair that is too near: many steps must not add up [m]."""
INSIDE = 1e-5
"""Depth in the stop distance from which every pair of a kind is seen by itself [m]."""
FAR_AWAY = 100.0
"""A joint angle at which nothing was measured [rad]."""
UNMOVED = 1e-9
"""Motion that changes no distance [m]."""
_NONE: frozenset[int] = frozenset()
LONGEST_PIECE = 0.06
"""Motion of a joint between two postures looked at on the way to rest [rad]: 5 cm at the tool of
a stretched RM75, less than what two grippers measure where they are thinnest."""
MOST_PIECES = 4
"""Pieces of the way to rest at most."""
SLOWEST = 0.02
"""Speed below which the time to rest is not taken from it [rad/s]."""
MARGIN = 0.0003
"""Kept besides a stop distance: what the joints run beside their set points [m]."""
OTHER_MARGIN = 0.003
"""Kept besides from the other arm: where it comes to rest is an estimate [m]."""
NOTICE = 0.5
"""Share of the slow zone in which the other arm is worth a word."""
SURFACES = ("gripper_table", "arm_table")
"""Kinds of pairs in which an arm may slide along the other part."""
FLATTEST = 1e-4
"""Squared slope of a distance below which no joint changes it [m2/rad2]."""
OWN = "same_arm"
"""Kind of the pairs of parts of the arm itself."""
WITH_OTHER = ("arm_arm", "gripper_gripper")
"""Kinds of pairs with the other arm."""


class View(NamedTuple):
    """Distances at one posture; an entry is the nearest pair of a kind, one pair, or a wall."""

    gaps: list[float]
    """Distances less the stop distance of their kind (m,) [m]."""
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


NOTHING = View(gaps=[], widths=[], pairs=(), detailed=_NONE)
"""View before the first."""


class Surroundings:
    """Geometry around one arm with the other one placed where it is assumed to be."""

    def __init__(self, cell: Cell, side: str, other: str) -> None:
        """Build the pairs.

        Args:
            cell: arms, obstacles and distances.
            side: the arm that moves.
            other: the other arm; empty when there is none.
        """
        self._side, self._other_side = side, other
        self._guard = cell.guard
        self._geometry = CellGeometry(cell, (side,), with_others=bool(other))
        self._own = self._geometry.slices[side]
        self._others = self._geometry.slices.get(other, slice(0, 0))
        self._q = np.zeros(self._geometry.model.nq)
        gripper = load_gripper(cell.guard.gripper)
        self._levers = levers(load_arm_model(cell.arms[side].model).chain(), gripper)
        if other:
            self._other_levers = levers(load_arm_model(cell.arms[other].model).chain(), gripper)
        self._lower, self._upper = cell.guard.workspace_lower, cell.guard.workspace_upper
        kinds = self._geometry.kinds
        self._stops = [
            kind.zone.stop + (OTHER_MARGIN if kind.name in WITH_OTHER else MARGIN)
            for kind in kinds
        ]
        self._widths = [kind.zone.slow - kind.zone.stop for kind in kinds]
        self._walls = [cell.guard.workspace_slow] * 6
        self._all_widths = [*self._widths, *self._walls]
        # moved (kinds x joints), in one row, @ spread = how much nearer each kind may have come
        self._spread = np.zeros((len(kinds) * self._q.size, len(kinds)))
        for index, kind in enumerate(kinds):
            row = self._spread[index * self._q.size : (index + 1) * self._q.size, index]
            row[self._own] = self._levers
            if kind.name in WITH_OTHER:
                row[self._others] = self._other_levers
        # way of the arm (n,) @ approaches = how much nearer each kind and the walls may come
        self._approaches = np.stack([self._levers] * (len(kinds) + 1), axis=1)
        for index, kind in enumerate(kinds):
            if kind.name == OWN:
                self._approaches[:, index] *= self._geometry.moves(index)[self._own]
        self._measured = [-math.inf] * len(kinds)
        self._measured_at = np.full((len(kinds), self._q.size), FAR_AWAY)
        self._moved = np.zeros_like(self._measured_at)
        self._moved_row = self._moved.reshape(-1)
        self._pairs = [0] * len(kinds)
        self._is_near = True
        self._wall, self._wall_at = -math.inf, np.zeros(self._levers.size)
        self._seen = self._first = NOTHING
        self._seen_at: list[float] = []
        self._first_at: list[float] = []
        self._acceleration, self._jerk = (
            cell.safety.max_joint_acceleration,
            cell.safety.max_joint_jerk,
        )
        self._other: OtherState | None = None
        self._uncertain: frozenset[int] = frozenset()
        self._with_other = frozenset(i for i, kind in enumerate(kinds) if kind.name in WITH_OTHER)
        self._reach = self._geometry.reach_of_pairs(side, self._with_other)

    def place_other(self, state: OtherState | None) -> None:
        """Assume this of the other arm from now on."""
        self._other = state
        self._uncertain = self._with_other if state and state.is_stale else frozenset()
        if state is not None:
            self._q[self._others] = state.rest

    def is_clear(self, q: Array, velocity: Array, dt: float) -> bool:
        """Whether nothing can be in a slow zone where the arm comes to rest, whatever it aims for.

        Told from the distances measured last, without measuring again.
        """
        if self._uncertain or self._is_near:
            return False
        a = self._acceleration
        speed = np.abs(velocity) + a * dt
        reach = speed * (dt + speed / a + a / self._jerk)  # twice what braking takes
        self._q[self._own] = q
        motion = float(reach @ self._levers)
        own = float(np.abs(q - self._wall_at) @ self._levers)
        return self._wall - own - motion > self._guard.workspace_slow and all(
            gap - moved - motion > width
            for gap, moved, width in zip(
                self._measured, self._approach(), self._widths, strict=True
            )
        )

    def tool_speed(self, q: Array, velocity: Array, dt: float, limit: float) -> float:
        """Speed of the grasp point [m/s]; below the limit a bound of it will do."""
        most = float(np.abs(velocity) @ self._levers)
        if most <= limit:
            return most
        before = self._tool_at(q)
        return math.dist(self._tool_at(q + velocity * dt), before) / dt

    def _tool_at(self, q: Array) -> list[float]:
        """Grasp point (3,) [m] at a posture of the arm."""
        self._q[self._own] = q
        self._geometry.update(self._q)
        point: list[float] = self._geometry.tool(self._side).tolist()
        return point

    def look(self, q: Array, like: View | None = None) -> View:
        """Distances at a posture (n,) of the arm [rad], the other one at rest.

        Args:
            q: posture.
            like: view whose entries to repeat; else a kind that is too near is seen pair by pair.
        """
        self._q[self._own] = q
        place: list[float] = self._q.tolist()
        if place == self._seen_at and self._answers(self._seen, like):
            return self._seen  # where the step before ended
        if like is None and place == self._first_at and self._answers(self._first, like):
            return self._first  # where it began, and was held
        self._geometry.update(self._q)
        nearest = self._nearest(self._uncertain if like is None else like.detailed)
        if like is not None:
            detailed = like.detailed
        else:
            detailed = self._uncertain
            if min(nearest, default=0.0) < -INSIDE:
                detailed |= frozenset(i for i, gap in enumerate(nearest) if gap < -INSIDE)
        walls = self._walls_left()
        self._wall, self._wall_at = min(walls), np.array(q)
        self._is_near = self._wall < self._walls[0] or any(map(lt, nearest, self._widths))
        pairs = tuple(self._pairs)
        if detailed:
            view = self._detailed(pairs, nearest, walls, detailed)
        else:
            gaps = [*nearest, *walls]
            view = View(gaps=gaps, widths=self._all_widths, pairs=pairs, detailed=detailed)
        self._seen, self._seen_at = view, [] if self._uncertain else place
        if like is None:
            self._first, self._first_at = view, self._seen_at
        return view

    def _answers(self, seen: View, like: View | None) -> bool:
        """Whether the view of a posture is what another look at it would give."""
        if like is not None:
            return seen.detailed == like.detailed
        return not (seen.detailed or self._uncertain or min(seen.gaps) < -INSIDE)

    def _nearest(self, needed: frozenset[int]) -> list[float]:
        """Gaps of the kinds, measured anew where they are needed or may be near.

        A gap shrinks no faster than the arms move, so a kind known to be far is not measured
        again before it may have come into its slow zone: until then the bound stands for it.
        """
        moved = self._approach()
        least = list(map(sub, self._measured, moved))
        for kind, width in enumerate(self._widths):
            if (least[kind] > width or moved[kind] <= UNMOVED) and kind not in needed:
                continue
            least[kind] = self._measure(kind)
        return least

    def _measure(self, kind: int) -> float:
        """Gap of a kind at the posture of the last update [m]."""
        geometry = self._geometry
        distance, self._pairs[kind] = geometry.kinds[kind].nearest(geometry.model, geometry.data)
        self._measured[kind] = gap = distance - self._stops[kind]
        self._measured_at[kind] = self._q
        return gap

    def _walls_left(self) -> list[float]:
        """Gap of each wall of the workspace at the posture of the last update [m]."""
        x, y, z = self._geometry.tool(self._side).tolist()
        low, high = self._lower, self._upper
        return [x - low[0], y - low[1], z - low[2], high[0] - x, high[1] - y, high[2] - z]

    def _approach(self) -> list[float]:
        """How much nearer each kind may have come since it was measured [m]."""
        np.subtract(self._q, self._measured_at, out=self._moved)
        np.abs(self._moved, out=self._moved)
        approach: list[float] = (self._moved_row @ self._spread).tolist()
        return approach

    def tightest(self, here: View, there: View, dt: float) -> tuple[float, int]:
        """Share of the way from one stopping posture to the next that is allowed, and by what.

        Plain numbers: there are about ten entries, too few for arrays to pay.
        """
        least, tightest = 1.0, 0
        reach = self._guard.tool_speed * dt
        for entry, (gap, then, width) in enumerate(
            zip(here.gaps, there.gaps, here.widths, strict=True)
        ):
            if then >= gap or then >= width:
                continue
            if gap > 0.0:
                floor = min(gap, width) * (1.0 - min(reach / width, 1.0)) - TOLERANCE
            else:
                floor = gap - TOLERANCE_INSIDE
            if then < floor:
                share = (gap - floor) / (gap - then)
                if share < least:
                    least, tightest = share, entry
        return least, tightest

    def along(self, wanted: Array, rest: Array, view: View, entry: int, kept: float) -> Array:
        """Velocity (n,) that goes along a surface in place of into it; the wanted one elsewhere.

        An arm slides along what is worked on and along the walls of its workspace. In front of
        another arm or an obstacle it stops.

        Args:
            wanted: velocity (n,) [rad/s].
            rest: the posture of ``view`` (n,) [rad].
            view: where the arm would come to rest.
            entry: what is too near there.
            kept: share of its approach that may stay.
        """
        kind, pair = view.source(entry)
        if kind >= 0 and self._geometry.kinds[kind].name not in SURFACES:
            return wanted
        self._q[self._own] = rest
        if kind < 0:
            sign = 1.0 if pair < 3 else -1.0
            slope = sign * self._geometry.tool_slope(self._side, pair % 3, self._q)[self._own]
        else:
            if np.abs(self._measured_at[kind] - self._q).max() > UNMOVED:
                self._gaps(rest, (kind,))  # something on the way was looked at since
            slope = self._geometry.slope(kind, pair, self._q)[self._own]
        approach = float(slope @ wanted)
        steepness = float(slope @ slope)
        if approach >= 0.0 or steepness < FLATTEST:
            return wanted
        aside: Array = wanted - slope * (approach * (1.0 - kept) / steepness)
        return aside

    def least_gap(
        self, q: Array, velocity: Array, rest: Array, here: View, there: View, enough: float
    ) -> float:
        """Smallest gap [m] on the way to rest, its end included; -inf where it is not allowed.

        The joints brake alike but come to rest at different times, so the way is no straight line.

        Args:
            q: posture now (n,) [rad].
            velocity: its velocity (n,) [rad/s].
            rest: where it stops (n,) [rad].
            here: view of where it stops when it brakes now.
            there: view of ``rest``.
            enough: gap above which it does not matter how large it is [m].
        """
        least = min(there.gaps)
        way, other = rest - q, self._other
        if not self._may_meet(np.abs(way), there):
            return least
        watched = self._nearing(way, there, max(min(least, enough), 0.0))
        if not watched:
            return least
        allowed = [min(here.gaps[entry], 0.0) - TOLERANCE for entry in watched]
        longest = float(np.abs(way).max())
        if other is not None and other.is_moving:
            longest = max(longest, float(np.abs(other.rest - other.posture).max()))
        pieces = min(max(math.ceil(longest / LONGEST_PIECE), 2), MOST_PIECES)
        for share, gone in _braking(way.tolist(), velocity.tolist(), pieces):
            if other is not None and other.is_moving:
                left = (1.0 - share) ** 2
                self._q[self._others] = other.rest - left * (other.rest - other.posture)
            posture = q + gone * way
            gaps = (
                self.look(posture, here).gaps if there.detailed else self._gaps(posture, watched)
            )
            least = min(least, *gaps)
            if any(map(lt, gaps, allowed)):
                least = -math.inf
                break
        if other is not None and other.is_moving:
            self._q[self._others] = other.rest
        return least

    def surely_left(self, q: Array, rest: Array, there: View) -> float:
        """What `least_gap` finds at least [m], told without a look; not positive where it cannot.

        Args:
            q: posture now (n,) [rad].
            rest: where it stops (n,) [rad].
            there: view of ``rest``.
        """
        return 0.0 if there.detailed else min(self._left(rest - q, there))

    def _left(self, way: Array, there: View) -> list[float]:
        """Gap of each entry that is left at least on a way to the posture of a view [m]."""
        other = self._other
        theirs = 0.0
        if other is not None and other.is_moving:
            theirs = float(np.abs(other.rest - other.posture) @ self._other_levers)
        *own, walls = (np.abs(way) @ self._approaches).tolist()
        if theirs > 0.0:
            for kind in self._with_other:
                own[kind] += theirs
        count = len(own)
        return [*map(sub, there.gaps, own), min(there.gaps[count:]) - walls]

    def _nearing(self, way: Array, there: View, least: float) -> list[int]:
        """Entries that may come below a gap [m] on a way to the posture of a view."""
        if there.detailed:
            return list(range(len(there.gaps)))
        *left, wall = self._left(way, there)
        nearing = [kind for kind, gap in enumerate(left) if gap < least]
        if wall < least:
            nearing += range(len(left), len(there.gaps))
        return nearing

    def _gaps(self, q: Array, entries: Sequence[int]) -> list[float]:
        """Gaps of some kinds, or of all walls after them, at a posture (n,) of the arm [m]."""
        self._q[self._own] = q
        self._geometry.update(self._q)
        count = len(self._measured)
        gaps = [self._measure(kind) for kind in entries if kind < count]
        return gaps if len(gaps) == len(entries) else gaps + self._walls_left()

    def _may_meet(self, way: Array, there: View) -> bool:
        """Whether something may come too near on a way that ends where it does not."""
        own, nearest = float(way @ self._levers), min(there.gaps)
        other = self._other
        if other is None:
            return nearest < own
        both = own
        if other.is_moving:
            both += float(np.abs(other.rest - other.posture) @ self._other_levers)
        if nearest >= both:
            return False
        return any(
            gap < own or (gap < both and there.source(entry)[0] in self._with_other)
            for entry, gap in enumerate(there.gaps)
        )

    def words(self, here: View, entry: int) -> str:
        """What an entry of a view is, its distance and its bounds."""
        kind, pair = here.source(entry)
        if kind < 0:
            axis, wall = "xyz"[pair % 3], "lower" if pair < 3 else "upper"
            bound = (self._lower if pair < 3 else self._upper)[pair % 3]
            return (
                f"{self._side} tool is {_mm(here.gaps[entry])} from the {wall} wall of the "
                f"workspace at {axis} = {bound:g} m"
            )
        other = self._other
        if kind in self._uncertain and other is not None:
            age = (
                "was never seen" if np.isinf(other.age) else f"was last seen {other.age:.2f} s ago"
            )
            return f"{self._other_side} arm {age}: it may be anywhere it can reach"
        entry_kind = self._geometry.kinds[kind]
        first, second = entry_kind.labels[pair]
        zone = entry_kind.zone
        distance = here.gaps[entry] + self._stops[kind]
        return (
            f"{first} comes to {_mm(distance)} from {second}: slowed below "
            f"{_mm(zone.slow)}, stopped at {_mm(zone.stop)}"
        )

    def words_of_other(self, here: View, entry: int) -> str:
        """Words of the nearest pair with the other arm, where an entry is not one and it is near.

        An arm that something else holds back is told of the other arm, too, before that leaves.
        """
        if here.source(entry)[0] in self._with_other:
            return ""
        near = [
            (gap, index)
            for index, (gap, width) in enumerate(zip(here.gaps, here.widths, strict=True))
            if gap < NOTICE * width and here.source(index)[0] in self._with_other
        ]
        return f"; {self.words(here, min(near)[1])}" if near else ""

    def _detailed(
        self,
        pairs: tuple[int, ...],
        nearest: list[float],
        walls: list[float],
        detailed: frozenset[int],
    ) -> View:
        gaps: list[float] = []
        widths: list[float] = []
        sizes: list[int] = []
        for kind, entry in enumerate(self._geometry.kinds):
            if kind not in detailed:
                found = [nearest[kind]]
            else:
                distances = entry.all()
                if kind in self._uncertain and self._other is not None:
                    reached = self._geometry.reach_distances()[self._reach[kind]]
                    distances = np.maximum(distances - self._other.growth, reached)
                found = (distances - self._stops[kind]).tolist()
            gaps += found
            widths += [self._widths[kind]] * len(found)
            sizes.append(len(found))
        return View(
            gaps=gaps + walls,
            widths=widths + self._walls,
            pairs=pairs,
            detailed=detailed,
            sizes=tuple(sizes),
        )


def _braking(
    ways: list[float], velocities: list[float], pieces: int
) -> Iterator[tuple[float, list[float]]]:
    """Share of the time and of each joint's way that has passed after each piece but the last.

    A joint that brakes evenly from v needs the time 2 s / v for its way s.
    """
    times = [
        max(2.0 * abs(way) / max(abs(speed), SLOWEST), 1e-9)
        for way, speed in zip(ways, velocities, strict=True)
    ]
    last = max(times)
    for piece in range(1, pieces):
        share = piece / pieces
        yield share, [1.0 - max(1.0 - share * last / time, 0.0) ** 2 for time in times]


def _mm(distance: float) -> str:
    return f"{distance * 1e3:.0f} mm"
