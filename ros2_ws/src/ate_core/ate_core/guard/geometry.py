"""Distances between the parts of the cell at a posture: coal through Pinocchio.

Pairs are grouped by kind, because each kind has distances of its own and one call of the library
per kind gives its nearest pair without a loop in Python.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import coal
import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from ate_core.arm_model import load_arm_model
from ate_core.contract import Cell
from ate_core.geometry import pose_to_matrix, transform
from ate_core.gripper_shapes import load_gripper
from ate_core.guard.shapes import Solid, arm_solids, levers, obstacle_solid
from ate_core.guard_config import Zone

Array = NDArray[np.float64]

NEIGHBOURS = 2
"""Parts of one arm up to this far apart in the chain are never a pair: they are joined there,
and the joints' limits keep the rest of them apart."""
REACH = "reach"
"""Kind of the pairs with all places that the other arm can reach."""
_AXES = np.eye(3)
_STANDS, _WORKED_ON, _REACHED = 0, 1, 2  # what a part without a side is
_SAMPLES = 48
"""Postures at which a pair is tried for whether its distance ever changes."""
_STILL = 1e-5
"""Change of a distance that counts as none [m]."""


@dataclass(frozen=True, kw_only=True)
class Near:
    """The nearest pair of one kind."""

    kind: str
    """Name of the kind, as in the section ``guard`` of the cell."""
    first: str
    """A part in words."""
    second: str
    """The other part."""
    distance: float
    """Distance; negative inside each other [m]."""
    zone: Zone
    """Distances of this kind."""


class Kind:
    """All pairs of one kind and their nearest distance."""

    def __init__(
        self, name: str, zone: Zone, solids: pin.GeometryModel, pairs: Sequence[tuple[int, int]]
    ) -> None:
        """Take the solids of these pairs and no others: each has to be placed."""
        self.name = name
        self.zone = zone
        self._model = pin.GeometryModel()
        numbers = sorted({number for pair in pairs for number in pair})
        for number in numbers:
            self._model.addGeometryObject(solids.geometryObjects[number])
        self._pair([(numbers.index(first), numbers.index(second)) for first, second in pairs])

    def _pair(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Have these pairs of its solids."""
        objects = list(self._model.geometryObjects)
        self._pairs = pairs
        self._model.removeAllCollisionPairs()
        for pair in pairs:
            self._model.addCollisionPair(pin.CollisionPair(*pair))
        self._data = pin.GeometryData(self._model)
        self._results = list(self._data.distanceResults)  # parts of the data: they follow it
        self._joints = [(objects[a].parentJoint, objects[b].parentJoint) for a, b in pairs]
        self.labels = [(_words(objects[a]), _words(objects[b])) for a, b in pairs]
        """Parts of each pair, in words."""

    def keep(self, pairs: Sequence[int]) -> None:
        """Leave out all pairs but these."""
        self._pair([self._pairs[pair] for pair in pairs])

    @property
    def count(self) -> int:
        """Number of pairs."""
        return len(self.labels)

    def nearest(self, model: pin.Model, data: pin.Data) -> tuple[float, int]:
        """Smallest distance [m] at the posture that ``data`` holds, and its pair."""
        pin.updateGeometryPlacements(model, data, self._model, self._data)
        index = pin.computeDistances(self._model, self._data)
        return self._results[index].min_distance, index

    def direction(self, pair: int) -> tuple[int, int, Array, Array]:
        """Joints of both parts of a pair, a nearest point (3,), and the direction between (3,)."""
        found = self._results[pair]
        return *self._joints[pair], found.getNearestPoint1(), found.normal

    def all(self) -> Array:
        """Distances (pairs,) [m] at the posture of the last `nearest`."""
        return np.array([result.min_distance for result in self._results])


class CellGeometry:
    """Arms, grippers and obstacles of a cell, and the pairs that must keep apart."""

    def __init__(self, cell: Cell, movers: Collection[str], *, with_others: bool = True) -> None:
        """Build the pairs.

        Args:
            cell: its arms, obstacles and distances.
            movers: sides of the arms that move: pairs without a part of one are left out.
            with_others: whether the other arms are there.
        """
        self.sides = tuple(side for side in cell.arms if with_others or side in movers)
        self._movers = tuple(side for side in self.sides if side in movers)
        self.model = pin.Model()
        self.data: pin.Data
        self._frames: dict[str, list[int]] = {}
        self._bases: dict[str, Array] = {}
        self.slices: dict[str, slice] = {}
        """Side -> place of its joints in the vector of all."""
        self._solids = pin.GeometryModel()
        self._parts: list[tuple[str, int]] = []
        for side in self.sides:
            self._add_arm(cell, side)
        self.data = self.model.createData()
        self._jacobians = self.data.J  # a part of the data (6, n): it follows it
        supports = [list(support) for support in self.model.supports]
        self._moved_by = np.array(
            [
                [float(joint in support) for joint in range(1, self.model.njoints)]
                for support in supports
            ]
        )
        self.tools: dict[str, tuple[int, Array]] = {}
        """Side -> last joint of the arm, and the grasp point (3,) in its frame [m]."""
        self._grasps: dict[str, tuple[float, ...]] = {}
        self._tool_places: dict[str, pin.SE3] = {}  # parts of the data: they follow `update`
        self._tool_motions: dict[str, pin.Motion] = {}  # likewise, and `tool_speed`
        for side in self.sides:
            tip = load_arm_model(cell.arms[side].model).chain().tip
            point = tip @ np.array([0.0, 0.0, cell.arms[side].tool_length, 1.0])
            self.tools[side] = self._frames[side][-1], point[:3].copy()
            self._grasps[side] = tuple(point[:3].tolist())
            self._tool_places[side] = self.data.oMi[self._frames[side][-1]]
            self._tool_motions[side] = self.data.v[self._frames[side][-1]]
        for name, obstacle in cell.obstacles.items():
            code = _WORKED_ON if obstacle.is_worked_on else _STANDS
            self._add(obstacle_solid(name, obstacle), 0, np.eye(4), ("", code))
        for side in self.sides:
            if side not in self._movers:
                self._add_reach(cell, side)
        kinds = self._make_kinds(cell)
        self.kinds = [kind for kind in kinds if kind.name != REACH]
        """All kinds that have pairs."""
        self._reach = next((kind for kind in kinds if kind.name == REACH), None)

    def update(self, q: Array) -> None:
        """Place all parts at a posture (n,) of all joints [rad]."""
        pin.forwardKinematics(self.model, self.data, q)

    def distances(self) -> list[tuple[float, int]]:
        """Nearest distance [m] and pair of each kind at the posture of the last `update`."""
        model, data = self.model, self.data
        return [kind.nearest(model, data) for kind in self.kinds]

    def slope(self, kind: int, pair: int, q: Array) -> Array:
        """Derivative (n,) of a pair's distance by all joints [m/rad].

        Args:
            kind: kind of the pair.
            pair: its number; its distance was measured last at ``q``.
            q: posture (n,) [rad].
        """
        first, second, point, normal = self.kinds[kind].direction(pair)
        pin.computeJointJacobians(self.model, self.data, q)
        # Both nearest points lie on one line along the normal: the force on either part is one.
        moved = self._moved_by[second] - self._moved_by[first]
        slope: Array = moved * self._along(normal, point)
        return slope

    def tool_slope(self, side: str, axis: int, q: Array) -> Array:
        """Derivative (n,) of a coordinate of a grasp point by all joints [m/rad] at ``q``."""
        pin.computeJointJacobians(self.model, self.data, q)
        joint, point = self.tools[side]
        place = self._tool_places[side].act(point)
        slope: Array = self._moved_by[joint] * self._along(_AXES[axis], place)
        return slope

    def _along(self, direction: Array, point: Array) -> Array:
        """Derivative (n,) of a point of the world along a direction, were it moved by all joints.

        A unit force along it at the point has the torque ``J^T (n, p x n)`` on each joint, and
        does what work the point's way along it is.
        """
        (x, y, z), (a, b, c) = point.tolist(), direction.tolist()
        force = np.array([a, b, c, y * c - z * b, z * a - x * c, x * b - y * a])
        derivative: Array = force @ self._jacobians
        return derivative

    def tool(self, side: str) -> Array:
        """Grasp point (3,) in the world [m] at the posture of the last `update`."""
        position: Array = self._tool_places[side].act(self.tools[side][1])
        return position

    def tool_speed(self, side: str, q: Array, velocity: Array) -> float:
        """Speed of a grasp point [m/s] at a posture and velocity (n,) of all joints.

        Places all parts as `update` does.
        """
        pin.forwardKinematics(self.model, self.data, q, velocity)
        u, v, w, a, b, c = self._tool_motions[side].vector.tolist()
        x, y, z = self._grasps[side]
        return math.hypot(u + b * z - c * y, v + c * x - a * z, w + a * y - b * x)

    def moves(self, kind: int) -> NDArray[np.bool_]:
        """Whether each joint (n,) changes any distance of a kind; tried at some postures."""
        rng, entry = np.random.default_rng(0), self.kinds[kind]
        found = np.zeros(self.model.nq, dtype=bool)
        for _ in range(_SAMPLES):
            before = rng.uniform(-2.0, 2.0, self.model.nq)
            for joint, change in enumerate(np.diag(rng.uniform(0.5, 2.0, self.model.nq))):
                if found[joint]:
                    continue
                distances = []
                for q in (before, before + change):
                    self.update(q)
                    entry.nearest(self.model, self.data)
                    distances.append(entry.all())
                found[joint] = np.max(np.abs(np.subtract(*distances))) > _STILL
        return found

    def reach_distances(self) -> Array:
        """Distances of the moving arm's parts from all that the other can reach (pairs + 1,) [m].

        Holds for the posture of the last `update`; the last entry is for parts without a pair.
        """
        if self._reach is None:
            return np.full(1, -np.inf)
        self._reach.nearest(self.model, self.data)
        return np.append(self._reach.all(), -np.inf)

    def reach_of_pairs(self, side: str, kinds: Collection[int]) -> dict[int, NDArray[np.int64]]:
        """Kind -> entry of `reach_distances` for the part of ``side`` in each of its pairs."""
        labels = [] if self._reach is None else self._reach.labels
        entries = {
            part: index
            for index, pair in enumerate(labels)
            for part in pair
            if part.startswith(side)
        }
        return {
            kind: np.array(
                [
                    next((entries[part] for part in pair if part in entries), len(labels))
                    for pair in self.kinds[kind].labels
                ]
            )
            for kind in kinds
        }

    def near(self, kind: int, pair: int, distance: float) -> Near:
        """Words of a pair."""
        entry = self.kinds[kind]
        first, second = entry.labels[pair]
        return Near(
            kind=entry.name, first=first, second=second, distance=distance, zone=entry.zone
        )

    def _add_arm(self, cell: Cell, side: str) -> None:
        arm = cell.arms[side]
        chain = load_arm_model(arm.model).chain()
        base = pose_to_matrix(arm.base_pose)
        self._bases[side] = base
        start = self.model.nq
        parent, ids, placement = 0, [0], base
        for joint in chain.joints:
            placement = placement @ joint.origin
            parent = self.model.addJoint(
                parent,
                pin.JointModelRevoluteUnaligned(*(float(value) for value in joint.axis)),
                pin.SE3(placement),
                f"{side} {joint.name}",
            )
            ids.append(parent)
            placement = np.eye(4)
        self._frames[side] = ids
        self.slices[side] = slice(start, self.model.nq)
        parts = arm_solids(side, arm, load_gripper(cell.guard.gripper))
        for index, solids in enumerate(parts):
            joint_id = ids[min(index, len(ids) - 1)]
            frame = base if index == 0 else np.eye(4)
            for solid in solids:
                self._add(solid, joint_id, frame, (side, index))

    def _add(self, solid: Solid, joint: int, frame: Array, part: tuple[str, int]) -> None:
        self._solids.addGeometryObject(
            pin.GeometryObject(
                f"{len(self._parts)} {solid.part}",
                joint,
                pin.SE3(frame @ solid.placement),
                solid.shape,
            )
        )
        self._parts.append(part)

    def _add_reach(self, cell: Cell, side: str) -> None:
        """Add the sphere that holds all places which an arm can reach."""
        chain = load_arm_model(cell.arms[side].model).chain()
        radius = float(levers(chain, load_gripper(cell.guard.gripper))[0])
        shoulder = transform(np.eye(3), chain.joints[0].origin[:3, 3])
        ball = Solid(part=f"{REACH} of {side}", shape=coal.Sphere(radius), placement=shoulder)
        self._add(ball, 0, self._bases[side], ("", _REACHED))

    def _kind_of(self, first: tuple[str, int], second: tuple[str, int]) -> str:
        """Kind of a pair of parts; empty when it is none."""
        (side, index), (other, other_index) = first, second
        if not side and not other:
            return ""
        if side and other:
            if side == other:
                return (
                    "same_arm"
                    if side in self._movers and abs(index - other_index) > NEIGHBOURS
                    else ""
                )
            if side not in self._movers and other not in self._movers:
                return ""
            grippers = index == self._gripper(side) and other_index == self._gripper(other)
            return "gripper_gripper" if grippers else "arm_arm"
        arm, part, what = (side, index, other_index) if side else (other, other_index, index)
        if arm not in self._movers:
            return ""
        if what == _REACHED:
            return REACH
        if what == _STANDS:
            return "obstacle"
        return "gripper_table" if part == self._gripper(arm) else "arm_table"

    def _gripper(self, side: str) -> int:
        return len(self._frames[side])

    def _make_kinds(self, cell: Cell) -> list[Kind]:
        pairs: dict[str, list[tuple[int, int]]] = {}
        for first in range(len(self._parts)):
            for second in range(first + 1, len(self._parts)):
                name = self._kind_of(self._parts[first], self._parts[second])
                if name:
                    pairs.setdefault(name, []).append((first, second))
        changing = self._changing(pairs)
        kinds = []
        for name, entries in changing.items():
            zone = cell.guard.arm_arm if name == REACH else getattr(cell.guard, name)
            kinds.append(Kind(name, zone, self._solids, entries))
        return kinds

    def _changing(
        self, pairs: Mapping[str, list[tuple[int, int]]]
    ) -> dict[str, list[tuple[int, int]]]:
        """Pairs without those that are at one distance, or inside each other, at every posture."""
        flat = [(name, pair) for name, entries in pairs.items() for pair in entries]
        found = Kind("", Zone(stop=0.0, slow=1.0), self._solids, [pair for _, pair in flat])
        rng = np.random.default_rng(0)
        rows = []
        for _ in range(_SAMPLES):
            self.update(rng.uniform(-2.0, 2.0, self.model.nq))
            found.nearest(self.model, self.data)
            rows.append(found.all())
        spread, most = np.ptp(np.stack(rows), axis=0), np.max(np.stack(rows), axis=0)
        changing: dict[str, list[tuple[int, int]]] = {}
        for (name, pair), change, farthest in zip(flat, spread, most, strict=True):
            if change > _STILL and farthest > 0.0:
                changing.setdefault(name, []).append(pair)
        return changing


def _words(solid: pin.GeometryObject) -> str:
    """The part that a solid belongs to."""
    return str(solid.name).split(" ", 1)[1]
