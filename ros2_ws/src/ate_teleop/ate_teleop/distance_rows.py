"""Distances of one arm as rows of its inverse kinematics, so that a hand slides along things.

The guard in front of the wire keeps an arm off the other one, itself, the table and obstacles, but
it can only slow the arm down. Here the nearest pair of each kind becomes one linear row

    n^T dq >= -rate dt gap,    gap = distance - stop distance - what a fast tool needs

with n the derivative of its distance by the joints, and the solver finds the best motion beside
it. The rates are a little slower than the guard's, which then has little to do.

Few ticks measure anything. A kind is measured again when its parts may have come into its zone,
or, once there, when they moved on far enough for its row to be old; the most urgent one first, one
in a tick, and in every tick what holds the arm. In between a row's gap goes on along its slope.
Some rows of before are kept: with the nearest corner of a gripper alone the others would come
down by turns, and the joints shake.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.arm_model import load_arm_model
from ate_core.contract import Cell
from ate_core.gripper_shapes import load_gripper
from ate_core.guard.distance_guard import CREEP, TRACKING
from ate_core.guard.geometry import CellGeometry
from ate_core.guard.other_arm import OtherArm
from ate_core.guard.shapes import levers
from ate_core.guard.surroundings import MARGIN, OTHER_MARGIN, OWN, WITH_OTHER

Array = NDArray[np.float64]

SHARE = 0.7
"""Share of the guard's speed of approach at a gap."""
ZONE = 0.8
"""Share of the slow zone in which a pair has a row: outside a hand is not fast enough for one."""
OLD = 1.0
"""Way of the parts after which a row is old, as a share of its gap."""
LEAST_WAY = 0.02
"""Least way of the parts between two measurements [m]."""
TYPICAL = 0.6
"""Share of the way that the joints' levers allow that parts go at most in practice: not all
joints turn about one axis. Where it is too little, a row comes late, and the guard slows."""
RETREAT = 0.2
"""Share of the tool's speed at which it goes away from what it is too fast for; at rest it never
moves by itself."""
KEPT = 6
"""Rows kept of each kind: the corners of a box that lies on a table are nearest by turns."""
ALIKE = 0.03
"""Difference of two slopes that counts as none [m/rad]."""
OLDEST = 40.0
"""Measurements of its kind after which a row that was not the nearest again is dropped."""
UNLIKELY = 0.01
"""How far two parts of the arm stay outside their stop distance, within the limits of its joints,
to have no row [m]."""
_SAMPLES = 1000
_LEAST = 1e-12
_TOLERANCE = 1e-7
"""Change of a distance that counts as none [m]."""


class DistanceRows:
    """Rows of the nearest pairs around one arm; belongs to one thread."""

    def __init__(self, cell: Cell, side: str) -> None:
        """Build the geometry; takes a few tenths of a second.

        Args:
            cell: arms, obstacles and distances.
            side: the arm that is driven.
        """
        others = [name for name in cell.arms if name != side]
        self._geometry = CellGeometry(cell, (side,), with_others=bool(others))
        self._own = self._geometry.slices[side]
        self._others = self._geometry.slices[others[0]] if others else slice(0, 0)
        self._other = OtherArm(cell, others[0]) if others else None
        self._leave_out_unlikely(cell, side)
        kinds = self._geometry.kinds
        shared = [kind.name in WITH_OTHER for kind in kinds]
        self._shared = [kind for kind, other in enumerate(shared) if other]
        self._stops = [
            kind.zone.stop + (OTHER_MARGIN if other else MARGIN)
            for kind, other in zip(kinds, shared, strict=True)
        ]
        widths = np.array([kind.zone.slow - kind.zone.stop for kind in kinds])
        self._zones = (ZONE * widths).tolist()
        rates = SHARE * cell.guard.tool_speed / widths
        self._fastest = TRACKING * cell.guard.tool_speed * float(rates.max())
        self._set_levers(cell, side, others)
        self._place = np.zeros(self._geometry.model.nq)
        count, joints = self._levers.shape
        self._rooms = np.full(count, -np.inf)
        self._rooms[self._shared] = np.inf  # until the other arm is seen
        self._least_room = -np.inf
        self._since, self._way = np.zeros((2, joints))
        rows = count * KEPT
        self._rates = np.repeat(rates, KEPT)
        self._slopes = np.zeros((rows, joints))
        self._all_slopes = np.zeros((rows, self._place.size))
        self._gaps, self._ages = np.full(rows, np.inf), np.zeros(rows)
        self._left, self._change, self._floors = np.empty((3, rows))
        self._near: list[int] = []
        self._bound: set[int] = set()

    def _leave_out_unlikely(self, cell: Cell, side: str) -> None:
        """Leave out parts of the arm that its joints' limits keep apart, as its wrist's."""
        lower, upper = cell.arms[side].bounds(cell.safety.position_margin)
        q, rng = np.zeros(self._geometry.model.nq), np.random.default_rng(0)
        for kind in self._geometry.kinds:
            if kind.name != OWN:
                continue
            least = np.full(kind.count, np.inf)
            for _ in range(_SAMPLES):
                q[self._own] = rng.uniform(lower, upper)
                self._geometry.update(q)
                kind.nearest(self._geometry.model, self._geometry.data)
                np.minimum(least, kind.all(), out=least)
            kind.keep((least < kind.zone.stop + UNLIKELY).nonzero()[0].tolist())

    def _set_levers(self, cell: Cell, side: str, others: list[str]) -> None:
        """How much nearer a radian of each joint may bring each kind [m/rad]."""
        gripper = load_gripper(cell.guard.gripper)
        own = TYPICAL * levers(load_arm_model(cell.arms[side].model).chain(), gripper)
        self._levers = np.tile(own, (len(self._geometry.kinds), 1))
        for number, kind in enumerate(self._geometry.kinds):
            if kind.name == OWN:
                self._levers[number] *= self._geometry.moves(number)[self._own]
        self._most = self._levers.max(axis=0)
        if others:
            chain = load_arm_model(cell.arms[others[0]].model).chain()
            self._other_levers = TYPICAL * levers(chain, gripper)

    def see_other(self, q: ArrayLike | None, now: float) -> None:
        """Take the other arm's measured joints (n,) [rad] at `now` [s]; None: they are unknown.

        Without them the rows are those of what is left; the guard keeps the arms apart.
        """
        if self._other is None:
            return
        if q is not None:
            self._other.see(q, now, None)
        state = self._other.at(now)
        if q is None or state.is_stale:
            for kind in self._shared:
                self._forget(kind)
                self._rooms[kind] = np.inf
            return
        moved = np.array(state.rest) - self._place[self._others]
        self._place[self._others] += moved
        self._gaps += self._all_slopes[:, self._others] @ moved
        way = float(self._other_levers @ np.abs(moved))
        for kind in self._shared:
            # Infinite: it was unknown before.
            room = self._rooms.item(kind)
            self._rooms[kind] = -np.inf if room == np.inf else room - way
        self._least_room = self._rooms.min().item()

    def start(self, q: Array) -> None:
        """Begin at a posture (n,) [rad]: measure all there."""
        np.copyto(self._since, q)
        self._bound = set()
        for kind, room in enumerate(self._rooms.tolist()):
            if room < np.inf:
                self._forget(kind)
                self._measure(kind, q)
        self._least_room = self._rooms.min().item()

    def look(self, q: Array) -> None:
        """Measure what is most urgent, if anything is, at the present posture (n,) [rad]."""
        way = self._way
        np.subtract(q, self._since, way)
        np.abs(way, way)
        urgent = way.dot(self._most).item() > self._least_room
        if not urgent and not self._bound:
            return
        self._rooms -= self._levers.dot(way)
        np.copyto(self._since, q)
        for kind in self._bound | ({int(self._rooms.argmin())} if urgent else set()):
            self._measure(kind, q)
        self._least_room = self._rooms.min().item()

    def _measure(self, kind: int, q: Array) -> None:
        geometry, zone = self._geometry, self._zones[kind]
        self._place[self._own] = q
        geometry.update(self._place)
        distance, pair = geometry.kinds[kind].nearest(geometry.model, geometry.data)
        gap = distance - self._stops[kind]
        if gap < zone:
            self._note(kind, gap, geometry.slope(kind, pair, self._place))
            self._rooms[kind] = max(OLD * gap, LEAST_WAY)
        else:
            self._rooms[kind] = max(gap - zone, LEAST_WAY)
            self._forget(kind)

    def _note(self, kind: int, gap: float, slope: Array) -> None:
        """Take a nearest pair in place of one like it, or of the oldest."""
        rows = slice(kind * KEPT, (kind + 1) * KEPT)
        ages = self._ages[rows]
        ages += 1.0
        alike = np.abs(self._all_slopes[rows] - slope).max(axis=1) < ALIKE
        row = rows.start + int(alike.argmax() if alike.any() else ages.argmax())
        gaps = self._gaps[rows]
        gaps[ages > OLDEST] = np.inf
        np.maximum(gaps, gap, out=gaps)  # no pair is nearer than the nearest
        self._ages[row], self._gaps[row] = 0.0, gap
        self._all_slopes[row], self._slopes[row] = slope, slope[self._own]
        self._near = np.isfinite(self._gaps).nonzero()[0].tolist()

    def _forget(self, kind: int) -> None:
        """Have no rows of a kind."""
        rows = slice(kind * KEPT, (kind + 1) * KEPT)
        if np.isfinite(self._gaps[rows]).any():
            self._gaps[rows], self._ages[rows] = np.inf, OLDEST
            self._slopes[rows] = self._all_slopes[rows] = 0.0
            self._near = np.isfinite(self._gaps).nonzero()[0].tolist()
            self._bound -= {kind}

    @property
    def is_near(self) -> bool:
        """Whether there is any row."""
        return bool(self._near)

    @property
    def is_bound(self) -> bool:
        """Whether a row held the last step."""
        return bool(self._bound)

    def bind(self, numbers: Sequence[int]) -> None:
        """Note which of the rows given by `rows` hold this step."""
        self._bound = {self._near[number] // KEPT for number in numbers}

    def surely_allow(self, step: Array, dt: float) -> bool:
        """Whether a step (n,) [rad] in `dt` [s] keeps all rows even for the fastest tool."""
        np.multiply(self._gaps, self._rates, self._left)
        np.multiply(self._left, dt, self._left)
        np.dot(self._slopes, step, self._change)
        np.add(self._left, self._change, self._left)
        return bool(self._left.min().item() >= self._fastest * dt)

    def aim(self, dt: float, speed: float) -> None:
        """Set how far each kind may approach in a tick of `dt` [s] at a tool speed [m/s]."""
        floors = self._floors
        np.subtract(self._gaps, TRACKING * max(speed - CREEP, 0.0), floors)
        np.multiply(floors, self._rates, floors)
        np.maximum(floors, -RETREAT * speed, out=floors)
        np.multiply(floors, -dt, floors)

    def allow(self, step: Array) -> bool:
        """Whether a step (n,) [rad] keeps all rows."""
        np.dot(self._slopes, step, self._change)
        np.subtract(self._change, self._floors, self._left)
        return bool(self._left.min().item() >= -_TOLERANCE)

    def share(self, step: Array) -> float:
        """Share of a step (n,) [rad] that keeps all rows, 0 to 1; what allows least is bound."""
        np.dot(self._slopes, step, self._change)
        change, floors = self._change[self._near], self._floors[self._near]
        allowed = np.minimum(floors, 0.0) / np.minimum(change, -_LEAST)
        shares = np.where(change < floors, allowed, 1.0)
        holds = int(shares.argmin())
        self.bind([holds])
        share: float = shares.item(holds)
        return share

    def rows(self) -> tuple[Array, Array]:
        """Matrix (m, n) and least changes (m,) [m] of the rows."""
        return self._slopes[self._near], self._floors[self._near]

    def advance(self, step: Array) -> None:
        """Let the gaps go on along their slopes by a step (n,) [rad]."""
        np.dot(self._slopes, step, self._change)
        np.add(self._gaps, self._change, self._gaps)
