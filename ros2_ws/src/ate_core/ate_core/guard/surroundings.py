"""What one arm must not touch, seen from a posture of it, and what it may do there."""

import math
from dataclasses import dataclass

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
_WALLS = [(-1, wall) for wall in range(6)]
LONGEST_PIECE = 0.06
"""Motion of a joint between two postures looked at on the way to rest [rad]: 5 cm at the tool of
a stretched RM75, less than what two grippers measure where they are thinnest."""
WITH_OTHER = ("arm_arm", "gripper_gripper")
"""Kinds of pairs with the other arm."""


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """Distances at one posture; an entry is the nearest pair of a kind, one pair, or a wall."""

    gaps: Array
    """Distances less the stop distance of their kind (m,) [m]."""
    widths: Array
    """Widths of the slow zones (m,) [m]."""
    sources: list[tuple[int, int]]
    """Kind and pair of each entry; a kind of -1 is a wall."""
    detailed: frozenset[int]
    """Kinds of which each pair is an entry."""


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
        self._lower = np.array(cell.guard.workspace_lower)
        self._upper = np.array(cell.guard.workspace_upper)
        kinds = self._geometry.kinds
        self._stops = np.array([kind.zone.stop for kind in kinds])
        self._widths = np.array([kind.zone.slow - kind.zone.stop for kind in kinds])
        self._walls = np.full(6, cell.guard.workspace_slow)
        self._all_widths = np.concatenate([self._widths, self._walls])
        self._reaches = np.zeros((len(kinds), self._q.size))
        self._reaches[:, self._own] = self._levers
        for index, kind in enumerate(kinds):
            if kind.name in WITH_OTHER:
                self._reaches[index, self._others] = self._other_levers
        self._known = np.full(len(kinds), -np.inf)
        self._measured = self._known.copy()
        self._measured_at = np.zeros((len(kinds), self._q.size))
        self._pairs = [(kind, 0) for kind in range(len(kinds))]
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

    def tool_speed(self, q: Array, velocity: Array, dt: float) -> float:
        """Speed of the grasp point [m/s]."""
        if float(np.abs(velocity) @ self._levers) <= self._guard.tool_speed:
            return 0.0  # cannot be too fast
        self._q[self._own] = q
        self._geometry.update(self._q)
        before = self._geometry.tool(self._side)
        self._q[self._own] = q + velocity * dt
        self._geometry.update(self._q)
        return float(np.linalg.norm(self._geometry.tool(self._side) - before)) / dt

    def look(self, q: Array, like: View | None = None) -> View:
        """Distances at a posture (n,) of the arm [rad], the other one at rest.

        Args:
            q: posture.
            like: view whose entries to repeat; else a kind that is too near is seen pair by pair.
        """
        self._q[self._own] = q
        self._geometry.update(self._q)
        found = self._nearest(self._uncertain if like is None else like.detailed)
        nearest = self._known.copy()
        if like is not None:
            detailed = like.detailed
        else:
            inside = np.flatnonzero(nearest < -INSIDE)
            detailed = frozenset(inside.tolist()) | self._uncertain
        point = self._geometry.tool(self._side)
        walls = np.concatenate([point - self._lower, self._upper - point])
        if not detailed:
            return View(
                gaps=np.concatenate([nearest, walls]),
                widths=self._all_widths,
                sources=[*found, *_WALLS],
                detailed=detailed,
            )
        return self._detailed(found, nearest, walls, detailed)

    def _nearest(self, needed: frozenset[int]) -> list[tuple[int, int]]:
        """Renew the gaps of the kinds that are needed or may be near; kind and pair of each.

        A gap shrinks no faster than the arms move, so a kind known to be far is not measured
        again before it may have come into its slow zone: until then the bound stands for it.
        """
        moved = np.abs(self._q - self._measured_at)
        least = self._measured - (moved * self._reaches).sum(axis=1)
        self._known = least
        for kind, entry in enumerate(self._geometry.kinds):
            if least[kind] > self._widths[kind] and kind not in needed:
                continue
            distance, pair = entry.nearest(self._geometry.model, self._geometry.data)
            self._pairs[kind] = (kind, pair)
            self._measured[kind] = least[kind] = distance - self._stops[kind]
            self._measured_at[kind] = self._q
        return list(self._pairs)

    def shares(self, here: View, there: View, dt: float) -> Array:
        """Share (m,) of the way from one stopping posture to the next that each entry allows."""
        rate = self._guard.tool_speed * dt / here.widths
        kept = np.minimum(here.gaps * (1.0 - np.minimum(rate, 1.0)), here.widths)
        floors = np.where(here.gaps > 0.0, kept - TOLERANCE, here.gaps - TOLERANCE_INSIDE)
        come = here.gaps - there.gaps
        shares = np.ones_like(here.gaps)
        nearer = there.gaps < floors
        shares[nearer] = (here.gaps[nearer] - floors[nearer]) / come[nearer]
        return shares

    def way_is_free(self, q: Array, rest: Array, here: View, there: View) -> bool:
        """Whether the arm comes no nearer on the way to rest than at its ends.

        Args:
            q: posture now (n,) [rad].
            rest: where it stops (n,) [rad].
            here: view of where it stops when it brakes now.
            there: view of ``rest``.
        """
        way = np.abs(rest - q)
        longest = float(np.max(way))
        other = self._other
        if other is not None:
            longest = max(longest, float(np.max(np.abs(other.rest - other.posture))))
        pieces = math.ceil(longest / LONGEST_PIECE)
        if pieces <= 1 or float(np.min(there.gaps)) > self._motion(way):
            return True
        allowed = np.minimum(here.gaps, 0.0) - TOLERANCE
        free = True
        for index in range(1, pieces):
            share = index / pieces
            if other is not None:
                self._q[self._others] = other.posture + share * (other.rest - other.posture)
            middle = self.look(q + share * (rest - q), here)
            if np.any(middle.gaps < allowed):
                free = False
                break
        if other is not None:
            self._q[self._others] = other.rest
        return free

    def _motion(self, way: Array) -> float:
        """Bound of how far any two points come nearer on the way to rest [m]."""
        length = float(way @ self._levers)
        other = self._other
        if other is not None:
            length += float(np.abs(other.rest - other.posture) @ self._other_levers)
        return length

    def words(self, here: View, entry: int) -> str:
        """What an entry of a view is, its distance and its bounds."""
        kind, pair = here.sources[entry]
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
        return (
            f"{first} comes to {_mm(here.gaps[entry] + zone.stop)} from {second}: slowed below "
            f"{_mm(zone.slow)}, stopped at {_mm(zone.stop)}"
        )

    def _detailed(
        self,
        found: list[tuple[int, int]],
        nearest: Array,
        walls: Array,
        detailed: frozenset[int],
    ) -> View:
        gaps, widths = [], []
        sources: list[tuple[int, int]] = []
        for kind, pair in found:
            if kind not in detailed:
                gaps.append(nearest[kind : kind + 1])
                widths.append(self._widths[kind : kind + 1])
                sources.append((kind, pair))
                continue
            distances = self._geometry.kinds[kind].all()
            if kind in self._uncertain and self._other is not None:
                reached = self._geometry.reach_distances()[self._reach[kind]]
                distances = np.maximum(distances - self._other.growth, reached)
            gaps.append(distances - self._stops[kind])
            widths.append(np.full(distances.size, self._widths[kind]))
            sources += [(kind, index) for index in range(distances.size)]
        return View(
            gaps=np.concatenate([*gaps, walls]),
            widths=np.concatenate([*widths, self._walls]),
            sources=[*sources, *_WALLS],
            detailed=detailed,
        )


def _mm(distance: float) -> str:
    return f"{distance * 1e3:.0f} mm"
