"""Whether a whole chunk of a policy keeps the arms apart, before its first action is sent."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.guard.geometry import CellGeometry

Array = NDArray[np.float64]

PIECE = 0.05
"""Joint motion between two postures looked at [rad]."""
SLACK = 0.01
"""How far into a stop distance a chunk may point [m]: the guard of the arm stops there in time,
and a policy's aim scatters by some millimetres."""
STANDING = 0.001
"""How much nearer a pair may come that was too near from the start [m]: noise of the joints."""


class ChunkGuard:
    """Distances of all arms of a cell along a chunk, both arms moving as the chunk says."""

    def __init__(self, cell: Cell) -> None:
        """Build the geometry; takes a few tenths of a second.

        Args:
            cell: arms, obstacles and distances.
        """
        self.sides = tuple(cell.arms)
        self._geometry = CellGeometry(cell, self.sides)
        self._lower = np.array(cell.guard.workspace_lower)
        self._upper = np.array(cell.guard.workspace_upper)

    def problem(self, postures: Array) -> str:
        """What comes too near, with its distance, its bound and the action; empty when nothing.

        Args:
            postures: measured joints, then one row per action (1 + H, n) [rad]; arms in the order
                of the cell.
        """
        floors = np.minimum(self._gaps(postures[0])[0] - STANDING, -SLACK)
        for action, (start, end) in enumerate(itertools.pairwise(postures)):
            pieces = max(math.ceil(float(np.max(np.abs(end - start))) / PIECE), 1)
            for piece in range(1, pieces + 1):
                gaps, pairs = self._gaps(start + piece / pieces * (end - start))
                entry = int(np.argmin(gaps - floors))
                if gaps[entry] < floors[entry]:
                    return f"{self._words(entry, pairs, float(gaps[entry]))} at action {action}"
        return ""

    def _gaps(self, q: Array) -> tuple[Array, list[int]]:
        """Gap of each kind and of each wall of the workspace; nearest pair of each kind."""
        geometry = self._geometry
        geometry.update(q)
        found = geometry.distances()
        gaps = [
            distance - kind.zone.stop
            for kind, (distance, _) in zip(geometry.kinds, found, strict=True)
        ]
        for side in self.sides:
            tool = geometry.tool(side)
            gaps += [*(tool - self._lower), *(self._upper - tool)]
        return np.array(gaps), [pair for _, pair in found]

    def _words(self, entry: int, pairs: list[int], gap: float) -> str:
        kinds = self._geometry.kinds
        if entry < len(kinds):
            near = self._geometry.near(entry, pairs[entry], gap + kinds[entry].zone.stop)
            bound = near.zone.stop - SLACK
            return (
                f"{near.first} comes to {near.distance * 1e3:.0f} mm from {near.second}, bound "
                f"{bound * 1e3:.0f} mm"
            )
        side, wall = divmod(entry - len(kinds), 6)
        place = (self._lower if wall < 3 else self._upper)[wall % 3]
        return (
            f"{self.sides[side]} tool leaves the workspace by {-gap * 1e3:.0f} mm at "
            f"{'xyz'[wall % 3]} = {place:g} m, bound {SLACK * 1e3:.0f} mm"
        )
