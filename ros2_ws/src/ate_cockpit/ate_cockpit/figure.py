"""The cell as the page draws it: capsules of the arms, obstacles, and what is nearest.

The page draws what the distance guard works with, so that a person sees why an arm is slowed.
All lengths in metres in the world frame (x forward, y left, z up).
"""

import itertools

import coal
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.arm_model import load_arm_model
from ate_core.contract import Cell
from ate_core.geometry import pose_to_matrix
from ate_core.gripper_shapes import GripperShapes, load_gripper
from ate_core.guard import CellGeometry
from ate_core.guard.shapes import arm_solids

Array = NDArray[np.float64]
Line = list[float]
"""x, y, z of one end, x, y, z of the other, radius [m]."""

NEAREST = 3
"""Pairs of parts that are told."""


class CellFigure:
    """Turns joints into lines and distances; belongs to one thread."""

    def __init__(self, cell: Cell) -> None:
        """Build the geometry; takes a few tenths of a second.

        Args:
            cell: arms, obstacles and distances.
        """
        self._cell = cell
        self._geometry = CellGeometry(cell, tuple(cell.arms))
        gripper = load_gripper(cell.guard.gripper)
        self._arms = {side: _ArmFigure(cell, side, gripper) for side in cell.arms}

    def surroundings(self) -> dict[str, object]:
        """What stands still: obstacles as edges, the workspace as a box."""
        guard = self._cell.guard
        return {
            "obstacles": {
                name: _edges(obstacle.shape, obstacle.size, pose_to_matrix(obstacle.pose))
                for name, obstacle in self._cell.obstacles.items()
            },
            "workspace": [*guard.workspace_lower, *guard.workspace_upper],
        }

    def arm(self, side: str, q: ArrayLike) -> list[Line]:
        """Lines of an arm and its gripper at joints ``q`` (n,) [rad]."""
        return self._arms[side].lines(np.asarray(q, dtype=np.float64))

    def near(self, joints: dict[str, Array]) -> list[dict[str, object]]:
        """The nearest pairs of the cell, nearest first; empty while an arm is unknown.

        Args:
            joints: side -> measured joints (n,) [rad].
        """
        if set(joints) != set(self._geometry.sides):
            return []
        geometry = self._geometry
        geometry.update(np.concatenate([joints[side] for side in geometry.sides]))
        pairs = [
            geometry.near(kind, pair, distance)
            for kind, (distance, pair) in enumerate(geometry.distances())
        ]
        pairs.sort(key=lambda near: near.distance - near.zone.stop)
        return [
            {
                "first": near.first,
                "second": near.second,
                "distance": round(near.distance, 4),
                "stop": near.zone.stop,
                "slow": near.zone.slow,
            }
            for near in pairs[:NEAREST]
        ]


class _ArmFigure:
    """Ends of the lines of one arm, each in the frame of its joint."""

    def __init__(self, cell: Cell, side: str, gripper: GripperShapes) -> None:
        arm = cell.arms[side]
        self._chain = load_arm_model(arm.model).chain()
        self._base = pose_to_matrix(arm.base_pose)
        self._ends: list[tuple[int, Array, float]] = []
        for part, solids in enumerate(arm_solids(side, arm, gripper)):
            for solid in solids:
                half, radius = _half_length(solid.shape)
                ends = np.array([[0.0, 0.0, -half], [0.0, 0.0, half]])
                self._ends.append((part, _placed(solid.placement, ends), radius))

    def lines(self, q: Array) -> list[Line]:
        """Lines in the world."""
        *joints, _ = self._chain.fk_all(q)
        frames = [self._base, *(self._base @ frame for frame in joints)]
        found = []
        for part, ends, radius in self._ends:
            placed = _placed(frames[min(part, len(frames) - 1)], ends)
            found.append([*np.round(placed.ravel(), 4).tolist(), round(radius, 4)])
        return found


def _placed(pose: Array, points: Array) -> Array:
    """Points (k, 3) [m] in the frame that a pose (4, 4) leads to."""
    placed: Array = points @ pose[:3, :3].T + pose[:3, 3]
    return placed


def _half_length(shape: coal.CollisionGeometry) -> tuple[float, float]:
    """Half the length and the radius of the line that stands for a solid along its z [m]."""
    if isinstance(shape, coal.Capsule):
        return float(shape.halfLength), float(shape.radius)
    if isinstance(shape, coal.Box):
        x, y, z = (float(value) for value in shape.halfSide)
        radius = min(x, y)
        return max(z - radius, 0.0), radius
    return 0.0, float(shape.radius)


def _edges(shape: str, size: tuple[float, ...], pose: Array) -> list[Line]:
    """An obstacle: the twelve edges of a box, the line of anything round."""
    if shape == "box":
        corners = np.array(
            list(itertools.product(*((-value / 2.0, value / 2.0) for value in size)))
        )
        placed = _placed(pose, corners)
        pairs = [
            (first, second)
            for first, second in itertools.combinations(range(8), 2)
            if bin(first ^ second).count("1") == 1
        ]
        return [[*placed[a].tolist(), *placed[b].tolist(), 0.0] for a, b in pairs]
    half = size[1] / 2.0 if len(size) > 1 else 0.0
    ends = _placed(pose, np.array([[0.0, 0.0, -half], [0.0, 0.0, half]]))
    return [[*ends.ravel().tolist(), size[0]]]
