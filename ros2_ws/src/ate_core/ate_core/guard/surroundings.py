"""What one arm must not touch, seen from a posture of it, and what it may do there."""

import math
from collections.abc import Sequence
from operator import mul, sub

import numpy as np
from numpy.typing import NDArray

from ate_core.arm_model import load_arm_model
from ate_core.contract import Cell
from ate_core.gripper_shapes import load_gripper
from ate_core.guard.clearances import Clearances
from ate_core.guard.geometry import CellGeometry
from ate_core.guard.other_arm import OtherState
from ate_core.guard.shapes import levers
from ate_core.guard.view import NOTHING, View, floor
from ate_core.guard.words import Words
from ate_core.motion_profile import Motion, rest_time, toward

Array = NDArray[np.float64]

INSIDE = 1e-5
"""Depth in the stop distance from which every pair of a kind is seen by itself [m]."""
_NONE: frozenset[int] = frozenset()
MARGIN = 0.0003
"""Kept besides a stop distance: what the joints run beside their set points [m]."""
OTHER_MARGIN = 0.003
"""Kept besides from the other arm: where it comes to rest is an estimate [m]."""
NOTICE = 0.5
"""Share of the slow zone in which the other arm is worth a word, also where it slows nothing."""
SURFACES = ("gripper_table", "arm_table")
"""Kinds of pairs in which an arm may slide along the other part."""
OWN = "same_arm"
"""Kind of the pairs of parts of the arm itself."""
WITH_OTHER = ("arm_arm", "gripper_gripper")
"""Kinds of pairs with the other arm."""


class Surroundings:
    """Geometry around one arm with the other one placed where it is assumed to be.

    The walls of the workspace count as one kind more, behind those of pairs.
    """

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
        self._place = [0.0] * int(self._geometry.model.nq)
        self._updated: list[float] = []
        self._lower, self._upper = cell.guard.workspace_lower, cell.guard.workspace_upper
        kinds = self._geometry.kinds
        self._stops = [
            kind.zone.stop + (OTHER_MARGIN if kind.name in WITH_OTHER else MARGIN)
            for kind in kinds
        ]
        self._widths = [kind.zone.slow - kind.zone.stop for kind in kinds]
        self._wall_widths = [cell.guard.workspace_slow] * 6
        self._all_widths = [*self._widths, *self._wall_widths]
        self._zones = [*self._widths, cell.guard.workspace_slow]
        self._with_other = tuple(i for i, kind in enumerate(kinds) if kind.name in WITH_OTHER)
        self._surfaces = tuple(i for i, kind in enumerate(kinds) if kind.name in SURFACES)
        self._set_levers(cell)
        self._pairs = [0] * len(kinds)
        self._wall_gaps: list[float] = []
        self._seen = self._first = NOTHING
        self._seen_at: list[float] = []
        self._first_at: list[float] = []
        self._other: OtherState | None = None
        self._their_way = 0.0
        self._brakes = cell.safety.max_joint_acceleration, cell.safety.max_joint_jerk
        self._uncertain = _NONE
        self._reach = self._geometry.reach_of_pairs(side, self._with_other)
        self._words = Words(cell.guard, (side, other), kinds, self._stops)

    def _set_levers(self, cell: Cell) -> None:
        """How much nearer a radian of each joint may bring each kind and the walls."""
        gripper, kinds = load_gripper(cell.guard.gripper), self._geometry.kinds
        own = levers(load_arm_model(cell.arms[self._side].model).chain(), gripper)
        names = [kind.name for kind in kinds]
        self._folded = names.index(OWN) if OWN in names else -1
        folding = own * self._geometry.moves(self._folded)[self._own] if OWN in names else own
        self._levers: list[float] = own.tolist()
        self._folding: list[float] = folding.tolist()
        rows = np.zeros((len(kinds) + 1, len(self._place)))
        rows[:, self._own] = own
        rows[self._folded, self._own] = folding
        self._other_levers: list[float] = []
        if self._other_side:
            theirs = levers(load_arm_model(cell.arms[self._other_side].model).chain(), gripper)
            rows[list(self._with_other), self._others] = theirs
            self._other_levers = theirs.tolist()
        self._clearances = Clearances(rows.tolist())

    def place_other(self, state: OtherState | None) -> None:
        """Assume this of the other arm from now on."""
        self._other, self._their_way = state, 0.0
        self._uncertain = frozenset(self._with_other) if state and state.is_stale else _NONE
        if state is None:
            return
        self._place[self._others] = state.rest
        if state.is_moving:
            self._their_way = sum(map(mul, state.turns, self._other_levers))

    def _placed(self, q: Sequence[float]) -> list[float]:
        """Place of all joints with the arm at a posture."""
        place = self._place.copy()
        place[self._own] = q
        return place

    def is_allowed(
        self,
        here: Sequence[float],
        there: Sequence[float],
        turns: Sequence[float],
        dt: float,
        enough: float,
    ) -> tuple[bool, View | None]:
        """Whether a step may be taken as it is, told from what the gaps can be at least.

        In a step a gap shrinks by no more than the joints' levers times their motion, so a gap g
        after the step keeps the rule g >= (g + step) (1 - rate dt) where it is large enough. Only
        what is not known to be so is measured, once, where the arm would come to rest, and
        compared with what it was before at most. False: it cannot be told; then, where the rule
        is surely kept and only the tool may be too fast, with the least gaps after the step.

        Args:
            here: where the arm comes to rest when it brakes now (n,) [rad].
            there: where it comes to rest after the step (n,) [rad].
            turns: how far each joint is at most from there until then (n,) [rad].
            dt: length of the step [s].
            enough: least gap there at which the tool is not too fast [m].
        """
        if self._uncertain:
            return False, None
        moved = [
            (_reach(here, there, row), sum(map(mul, turns, row)))
            for row in (self._levers, self._folding)
        ]
        place, reach, is_slow = self._placed(there), self._guard.tool_speed * dt, True
        gaps = self._clearances.all(place)
        for kind, (width, gap) in enumerate(zip(self._zones, gaps, strict=True)):
            step, way = moved[kind == self._folded]
            if kind in self._with_other:
                way += self._their_way
            share = reach / width
            ruled = min(step / share, width) * (1.0 - share) if share < 1.0 else 0.0
            needed = max(way, enough)
            if gap > needed and gap > ruled:
                continue
            before = self._clearances.most(kind, self._placed(here))
            if not self._clearances.is_exact(kind, gap):
                gap = gaps[kind] = self._measure(kind, place)
            if gap <= ruled and gap < floor(before, width, reach):
                return False, None
            is_slow = is_slow and gap > needed
        return is_slow, None if is_slow else self._view(gaps)

    def _view(self, gaps: list[float]) -> View:
        """View of the kinds and the nearest wall, which stands for all of them."""
        *nearest, wall = gaps
        return View(
            gaps=[*nearest, *[wall] * 6],
            widths=self._all_widths,
            pairs=tuple(self._pairs),
            detailed=_NONE,
        )

    def near_other(self, rest: Sequence[float]) -> str:
        """Words of the nearest pair with the other arm at a posture; empty when none is near.

        Whoever is told that the other arm is near is told also where nothing slows this one.
        """
        if self._uncertain:
            return ""
        place, near = self._placed(rest), []
        for kind in self._with_other:
            bound, gap = NOTICE * self._widths[kind], self._clearances.least(kind, place)
            if gap < bound and not self._clearances.is_exact(kind, gap):
                gap = self._measure(kind, place)
            if gap < bound:
                near.append((gap, kind))
        if not near:
            return ""
        gap, kind = min(near)
        return self._words.pair(kind, self._pairs[kind], gap)

    def lever_speed(self, velocity: Sequence[float]) -> float:
        """Speed that no part of the arm exceeds at a velocity (n,) [m/s]."""
        most: float = sum(map(mul, map(abs, velocity), self._levers))
        return most

    def tool_speed(
        self, q: Sequence[float], velocity: Sequence[float], dt: float, limit: float
    ) -> float:
        """Speed of the grasp point half a step on [m/s]; below the limit a bound of it will do."""
        most = self.lever_speed(velocity)
        if most <= limit:
            return most
        half = [angle + 0.5 * dt * speed for angle, speed in zip(q, velocity, strict=True)]
        place, moved = self._placed(half), [0.0] * len(self._place)
        moved[self._own] = velocity
        self._updated = place
        return self._geometry.tool_speed(self._side, np.array(place), np.array(moved))

    def look(self, q: Sequence[float], like: View | None = None) -> View:
        """Distances at a posture (n,) of the arm [rad], the other one at rest.

        Args:
            q: posture.
            like: view whose entries to repeat; else a kind that is too near is seen pair by pair.
        """
        place = self._placed(q)
        if place == self._seen_at and self._answers(self._seen, like):
            return self._seen  # where the step before ended
        if like is None and place == self._first_at and self._answers(self._first, like):
            return self._first  # where it began, and was held
        detailed = self._uncertain if like is None else like.detailed
        *nearest, wall = self._nearest(place, detailed)
        walls = self._wall_gaps if wall <= self._zones[-1] else [wall] * 6
        if like is None and min(nearest, default=0.0) < -INSIDE:
            detailed |= frozenset(i for i, gap in enumerate(nearest) if gap < -INSIDE)
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

    def _nearest(self, place: list[float], needed: frozenset[int]) -> list[float]:
        """Gaps of the kinds and of the nearest wall, measured where needed or maybe near.

        A kind known to be far is not measured again before it may have come into its slow zone:
        until then the bound stands for it.
        """
        least = self._clearances.all(place)
        for kind, (gap, width) in enumerate(zip(least, self._zones, strict=True)):
            if kind in needed or not (gap > width or self._clearances.is_exact(kind, gap)):
                least[kind] = self._measure(kind, place)
        return least

    def _measure(self, kind: int, place: list[float]) -> float:
        """Gap of a kind, or of the nearest wall, at a place [m]."""
        if place != self._updated:
            self._geometry.update(np.array(place))
            self._updated = place
        if kind == len(self._pairs):
            self._wall_gaps = self._walls_left()
            gap = min(self._wall_gaps)
        else:
            entry = self._geometry.kinds[kind]
            distance, self._pairs[kind] = entry.nearest(self._geometry.model, self._geometry.data)
            gap = distance - self._stops[kind]
        self._clearances.note(kind, gap, place)
        return gap

    def _walls_left(self) -> list[float]:
        """Gap of each wall of the workspace at the posture of the last update [m]."""
        x, y, z = self._geometry.tool(self._side).tolist()
        low, high = self._lower, self._upper
        return [x - low[0], y - low[1], z - low[2], high[0] - x, high[1] - y, high[2] - z]

    def slope(self, rest: Sequence[float], view: View, entry: int) -> list[float] | None:
        """Derivative (n,) of a gap by the joints [m/rad]; None where an arm does not slide.

        An arm slides along what is worked on and along the walls of its workspace. In front of
        another arm or an obstacle it stops.

        Args:
            rest: the posture of ``view`` (n,) [rad].
            view: distances there.
            entry: an entry of it.
        """
        kind, pair = view.source(entry)
        if kind >= 0 and self._geometry.kinds[kind].name not in SURFACES:
            return None
        place = self._placed(rest)
        if kind < 0:
            sign = 1.0 if pair < 3 else -1.0
            slope = sign * self._geometry.tool_slope(self._side, pair % 3, np.array(place))
        else:
            if not self._clearances.is_exact(kind, self._clearances.least(kind, place)):
                self._measure(kind, place)  # something on the way was looked at since
            slope = self._geometry.slope(kind, pair, np.array(place))
        self._updated = place
        own: list[float] = slope[self._own].tolist()
        return own

    def left(self, turns: Sequence[float], there: View) -> list[float]:
        """Gap of each kind, and of all walls, that a way leaves at least [m].

        Args:
            turns: how far each joint is at most from the end of the way (n,) [rad].
            there: view of where it ends; not detailed.
        """
        moved, count = sum(map(mul, turns, self._levers)), len(self._pairs)
        folded = sum(map(mul, turns, self._folding))
        left = [gap - moved for gap in (*there.gaps[:count], min(there.gaps[count:]))]
        left[self._folded] += moved - folded
        for kind in self._with_other:
            left[kind] -= self._their_way
        return left

    def beside(self, view: View, entries: Sequence[int]) -> tuple[list[int], bool]:
        """Which entries of a view are with a surface, and whether any is with the other arm.

        In a detailed view, where the arm may only part, no surface is told.
        """
        if view.detailed:
            return [], True
        surfaces = [entry for entry in entries if entry in self._surfaces]
        return surfaces, any(entry in self._with_other for entry in entries)

    def sag(self, way: Sequence[float]) -> float:
        """How much nearer than at its ends an arm comes at most in a motion (n,) [rad], in [m]."""
        lengths = list(map(abs, way))
        sag: float = sum(map(mul, lengths, self._levers)) * sum(lengths) / 8.0
        return sag

    def other_way(self) -> tuple[float, float]:
        """How far a joint of the other arm turns at most until that rests [rad], and when [s]."""
        other = self._other
        if other is None or not other.is_moving:
            return 0.0, 0.0
        return max(other.turns), self.rest_time(other.motions)

    def place_other_after(self, braked: float) -> None:
        """Assume the other arm before its rest, when it has braked for a time [s]."""
        other = self._other
        if other is not None and other.is_moving:
            self._place[self._others] = self.braked(other.motions, braked)

    def place_other_at_rest(self) -> None:
        """Assume the other arm where it comes to rest."""
        if self._other is not None:
            self._place[self._others] = self._other.rest

    def braked(self, motions: Sequence[Motion], time: float) -> list[float]:
        """Joints (n,) [rad] after some time of braking [s]."""
        acceleration, jerk = self._brakes
        return [toward(motion, 0.0, time, acceleration, jerk)[0] for motion in motions]

    def rest_time(self, motions: Sequence[Motion]) -> float:
        """Time until all joints of an arm rest [s]."""
        acceleration, jerk = self._brakes
        return max([rest_time(motion, acceleration, jerk) for motion in motions])

    def gaps(self, q: Sequence[float], entries: Sequence[int], enough: float) -> list[float]:
        """Gaps of some kinds, or of all walls after them, at a posture (n,) of the arm [m].

        What is surely wider than enough is not measured: of that gap nothing is told.
        """
        place, count, gaps = self._placed(q), len(self._pairs), []
        for kind in dict.fromkeys(min(entry, count) for entry in entries):
            if self._clearances.least(kind, place) > enough:
                gap = math.inf
            else:
                gap = self._measure(kind, place)
            gaps += (
                [gap] if kind < count else [math.inf] * 6 if gap == math.inf else self._wall_gaps
            )
        return gaps

    def words(self, view: View, entry: int) -> str:
        """What an entry of a view is, its distance and its bounds."""
        return self._words.entry(view, entry, self._other, self._uncertain)

    def words_of_other(self, view: View, entry: int) -> str:
        """Words of the nearest pair with the other arm, where an entry is not one and it is near.

        An arm that something else holds back is told of the other arm, too, before that leaves.
        """
        if view.source(entry)[0] in self._with_other:
            return ""
        if not view.detailed:
            near = [
                (view.gaps[kind], kind, view.pairs[kind])
                for kind in self._with_other
                if view.gaps[kind] < NOTICE * self._widths[kind]
            ]
        else:
            near = [
                (gap, *view.source(index))
                for index, (gap, width) in enumerate(zip(view.gaps, view.widths, strict=True))
                if gap < NOTICE * width and view.source(index)[0] in self._with_other
            ]
        if not near:
            return ""
        gap, kind, pair = min(near)
        return self._words.pair(kind, pair, gap)

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
            widths=widths + self._wall_widths,
            pairs=pairs,
            detailed=detailed,
            sizes=tuple(sizes),
        )


def _reach(start: Sequence[float], end: Sequence[float], levers: Sequence[float]) -> float:
    """How far any point of an arm gets at most from one posture to another [m]."""
    reach: float = sum(map(mul, map(abs, map(sub, end, start)), levers))
    return reach
