"""The guard of a running arm: distances, and what may be changed while it moves.

Two distance guards do the work, because each belongs to one thread: the stream asks one on every
tick, whoever plans a motion asks the other, which may take its time.
"""

import dataclasses
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.contract import Cell
from ate_core.guard import DistanceGuard
from ate_core.guard_config import GuardConfig, Zone
from ate_core.motion_guard import GuardVerdict, StoppingPosture

Array = NDArray[np.float64]


def widened(config: GuardConfig, extra: float) -> GuardConfig:
    """The same guard, slowing from further away.

    Args:
        config: of the cell.
        extra: added to every slow distance [m].
    """
    changes: dict[str, Any] = {
        name: dataclasses.replace(zone, slow=zone.slow + extra)
        for name, zone in vars(config).items()
        if isinstance(zone, Zone)
    }
    return dataclasses.replace(config, **changes)


class ArmGuard:
    """Guard of the filter (`limit`), of planned motions and of the other arm's whereabouts.

    Threads: `limit` belongs to the stream, the rest may be called from any.
    """

    def __init__(self, cell: Cell, side: str, *, other_absent: bool) -> None:
        """Build the geometry; takes a few tenths of a second.

        Args:
            cell: arms, obstacles and distances.
            side: the arm to guard.
            other_absent: the other arm is off and out of the way, said deliberately.
        """
        self._cell, self._side, self._other_absent = cell, side, other_absent
        arm = cell.arms[side]
        self._speed = np.minimum(arm.joint_speed, cell.safety.max_joint_speed)
        self._planning = threading.Lock()
        self._building = threading.Lock()
        self.extra = 0.0
        """Added to every slow distance of the cell [m]."""
        self._stream, self._planner = self._build(cell), self._build(cell)
        self.speed_scale = 1.0
        """Share of the joints' speeds that is allowed, (0, 1]; may be changed at any time."""

    @property
    def other_sides(self) -> tuple[str, ...]:
        """Arms whose joints must be heard."""
        if self._other_absent:
            return ()
        return tuple(side for side in self._cell.arms if side != self._side)

    def limit(
        self,
        q: Array,
        velocity: Array,
        wanted: Array,
        dt: float,
        now: float,
        stopping: StoppingPosture,
    ) -> GuardVerdict:
        """Velocity to aim for; see `MotionGuard`."""
        scale = self.speed_scale
        if scale < 1.0:
            # All joints by one factor, so that the direction of the motion stays.
            factor = float(np.max(np.abs(wanted) / self._speed)) / scale
            wanted = wanted / factor if factor > 1.0 else wanted
        return self._stream.limit(q, velocity, wanted, dt, now, stopping)

    def see_other(self, q: ArrayLike, received: float, velocity: ArrayLike | None) -> None:
        """Take the other arm's measured joints.

        Args:
            q: joints (n,) [rad].
            received: when they came, monotonic clock [s].
            velocity: joint velocities (n,) [rad/s]; None: not told.
        """
        for guard in (self._stream, self._planner):
            guard.see_other(q, received, velocity)

    def path_problem(self, start: Array, goal: Array) -> str:
        """What is in the way of a straight joint motion; empty when nothing is."""
        with self._planning:
            return self._planner.path_problem(start, goal, time.monotonic())

    def route_problem(self, postures: Sequence[Array]) -> str:
        """What is in the way of a path through postures [rad]; empty when nothing is."""
        with self._planning:
            return self._planner.route_problem(postures, time.monotonic())

    def widen(self, extra: float) -> None:
        """Slow from further away than the cell says; built in a thread, then in force.

        Args:
            extra: added to every slow distance [m]; 0 is the cell's own.
        """
        self.extra = extra

        def build() -> None:
            with self._building:
                if extra != self.extra:
                    return  # a newer change is waiting
                config = widened(self._cell.guard, extra)
                cell = dataclasses.replace(self._cell, guard=config)
                stream, planner = self._build(cell), self._build(cell)
                with self._planning:
                    self._stream, self._planner = stream, planner

        threading.Thread(target=build, name="guard builder", daemon=True).start()

    def _build(self, cell: Cell) -> DistanceGuard:
        return DistanceGuard.of_cell(cell, self._side, other_absent=self._other_absent)
