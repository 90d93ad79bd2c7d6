"""The distance guard of one arm: the safety filter asks it on every step.

What it keeps is about *stopping postures*. ``gap(S)`` is the distance of a kind of pairs, less its
stop distance, at the posture S where the arm comes to rest if it brakes now, beside the posture
where the other arm comes to rest. A step is let through when

    gap(S after the step) >= gap(S before) (1 - rate dt),    rate = tool speed / (slow - stop)

so that the arm can always brake outside the stop distance, and approaches more slowly the nearer
it is: at the far end of the slow zone at the tool speed, at the stop distance not at all. Where
the gap is negative already, no pair in it may come nearer; away is always free. Braking itself
leaves S where it is, so there is always a step that is let through. Both arms keep the rule, each
beside the other's stopping posture. Walls of the workspace are kept in the same way.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.contract import Cell
from ate_core.errors import SafetyError
from ate_core.guard.other_arm import OtherArm
from ate_core.guard.surroundings import Surroundings, View
from ate_core.motion_guard import GuardVerdict, StoppingPosture

Array = NDArray[np.float64]

TRIES = 5
"""Steps tried between the wanted one and braking."""
SLIDES = 2
"""Surfaces along which a step may be turned."""
CAUTION = 0.9
"""Share taken of the step that looks allowed: distances are curved."""
LEAST = 0.01
"""Share of the wanted step below which the arm brakes."""
TRACKING = 0.02
"""Distance kept for each metre per second of the tool [s]: joints lag behind their set points,
each by its own time, so a fast tool runs beside its path."""
PARTING = 0.1
"""Share of the tool's motion that must widen the nearest gap to count as moving away."""
CREEP = 0.03
"""Tool speed that is always near enough to the path [m/s]."""
AT_REST = 1e-9
"""Speed below which nothing is wanted [rad/s]."""
PATH_STEP = 0.02
"""Joint motion between two postures looked at on a path [rad]."""
PATH_SLACK = 0.001
"""How much nearer than allowed a path may come [m]: less than what its steps leave out."""


class _Step(NamedTuple):
    """Where a step begins."""

    place: list[float]
    """Posture (n,) [rad]."""
    velocity: list[float]
    """Its velocity (n,) [rad/s]."""
    here: list[float]
    """Where the arm comes to rest when it brakes now (n,) [rad]."""
    dt: float
    """Length of the step [s]."""


class DistanceGuard:
    """Keeps one arm off the other, itself, the table, obstacles and the walls of its workspace.

    `limit` is called by the arm's safety filter, `see_other` by whoever hears the other arm.
    """

    def __init__(self, cell: Cell, side: str, *, other_absent: bool = False) -> None:
        """Build the geometry; takes a few tenths of a second.

        Args:
            cell: arms, obstacles and distances.
            side: the arm to guard.
            other_absent: the other arm is off and out of the way, said deliberately.

        Raises:
            SafetyError: the cell has no such arm.
        """
        if side not in cell.arms:
            raise SafetyError(f"there is no arm {side!r} to guard: the cell has {list(cell.arms)}")
        self.side = side
        self._tool_speed = cell.guard.tool_speed
        others = [] if other_absent else [name for name in cell.arms if name != side]
        self._other = OtherArm(cell, others[0]) if others else None
        self._around = Surroundings(cell, side, others[0] if others else "")
        self._was_slowed = False
        self._zeros = np.zeros(len(cell.arms[side].joint_names))

    @classmethod
    def of_cell(cls, cell: Cell, side: str, *, other_absent: bool = False) -> "DistanceGuard":
        """Guard of one arm of a cell; the arguments are those of the class."""
        return cls(cell, side, other_absent=other_absent)

    def see_other(self, q: ArrayLike, received: float, velocity: ArrayLike | None = None) -> None:
        """Take the other arm's measured joints; may be called from another thread.

        Args:
            q: joints (n,) [rad].
            received: when they came, on the clock of ``now`` [s].
            velocity: joint velocities (n,) [rad/s]; from the posture before when None.
        """
        if self._other is not None:
            self._other.see(q, received, velocity)

    def limit(
        self,
        q: Array,
        velocity: Array,
        wanted: Array,
        dt: float,
        now: float,
        stopping: StoppingPosture,
    ) -> GuardVerdict:
        """Velocity to aim for in one step; see `MotionGuard`."""
        around = self._around
        around.place_other(None if self._other is None else self._other.at(now))
        here = stopping(self._zeros).tolist()
        place, most, aims = q.tolist(), self._tool_speed, wanted.tolist()
        if max(map(abs, aims)) < AT_REST:
            return GuardVerdict(velocity=wanted, near=around.near_other(here))
        aim, reason = wanted, ""
        speed = around.tool_speed(place, aims, dt, most)
        if speed > most:
            aim = wanted * (most / speed)
            reason = f"{self.side} tool is slowed from {speed:.2f} to {most:g} m/s"
            speed = most
        there = stopping(aim).tolist()
        enough = TRACKING * (speed - CREEP)
        # After a step that was slowed the next mostly is, and has to be looked at anyway.
        if self._was_slowed or not around.is_allowed(place, here, there, dt, enough):
            step = _Step(place, velocity.tolist(), here, dt)
            slowed = self._largest_step(step, aim, speed, there, stopping)
            self._was_slowed = slowed is not None
            if slowed is not None:
                return slowed
        return GuardVerdict(velocity=aim, reason=reason, near=around.near_other(there))

    def _largest_step(
        self,
        step: _Step,
        wanted: Array,
        speed: float,
        there: list[float],
        stopping: StoppingPosture,
    ) -> GuardVerdict | None:
        """What is let through of a step that something may slow; None: all of it.

        Args:
            step: where it begins.
            wanted: velocity asked for (n,) [rad/s].
            speed: speed of the tool at it [m/s], or a bound of that.
            there: where the arm comes to rest after it (n,) [rad].
            stopping: the same for any velocity.
        """
        around = self._around
        here = around.look(step.here)
        aim, share, slides = wanted, 1.0, SLIDES
        slowed_by = here, 0
        for attempt in range(TRIES):
            if attempt > 0:
                there = stopping(aim * share).tolist()
            view = around.look(there, here)
            allowed, entry = around.tightest(here, view, step.dt)
            if allowed >= 1.0:
                most = speed * share
                allowed, entry = self._allowed_speed(step, aim * share, most, there, here, view)
                if allowed >= 1.0:
                    break
            elif slides > 0:
                slides -= 1
                aside = around.along(aim, there, view, entry, CAUTION * max(allowed, 0.0))
                if aside is not aim:
                    aim, slowed_by = aside, (view, entry)
                    speed = math.inf
                    continue
            slowed_by = view, entry
            share *= CAUTION * allowed
            if allowed < LEAST:
                share = 0.0
                break
        else:
            share = 0.0
        if share == 1.0 and aim is wanted:
            return None
        reason, near = around.words(*slowed_by), around.words_of_other(here, entry)
        return GuardVerdict(velocity=aim * share, reason=reason, near=near)

    def _allowed_speed(
        self,
        step: _Step,
        velocity: Array,
        speed: float,
        rest: list[float],
        here: View,
        there: View,
    ) -> tuple[float, int]:
        """Share of a velocity (n,) at which the tool is slow enough, and the nearest entry.

        Args:
            step: where it begins.
            velocity: velocity to aim for [rad/s].
            speed: speed of the tool at it, or a bound of that [m/s].
            rest: where the arm comes to rest (n,) [rad].
            here: view of where it stops when it brakes now.
            there: view of ``rest``.
        """
        around = self._around
        gap = around.surely_left(step.place, rest, there)
        fastest = _fastest(gap)
        if speed > fastest:
            speed = around.tool_speed(step.place, velocity.tolist(), step.dt, fastest)
        if gap <= 0.0 or speed > fastest:
            enough = TRACKING * (speed - CREEP)
            gap = around.least_gap(step.place, step.velocity, rest, here, there, enough)
        return _speed_share(gap, speed, step.dt, here, there)

    def path_problem(self, start: ArrayLike, goal: ArrayLike, now: float) -> str:
        """What is in the way of a straight joint motion; empty when nothing is.

        The other arm is taken where it is. What is too near at the start may come no nearer.

        Args:
            start: first posture (n,) [rad].
            goal: last posture (n,) [rad].
            now: present time [s].
        """
        first = np.asarray(start, dtype=np.float64)
        way = np.asarray(goal, dtype=np.float64) - first
        steps = max(math.ceil(float(np.max(np.abs(way))) / PATH_STEP), 1)
        postures = [first + step / steps * way for step in range(steps + 1)]
        return self.route_problem(postures, now)

    def route_problem(self, postures: Sequence[ArrayLike], now: float) -> str:
        """What is in the way of a path through postures; empty when nothing is.

        The other arm is taken where it is. What is too near at the first may come no nearer.

        Args:
            postures: joints (n,) [rad], near enough to each other to be looked at one by one.
            now: present time [s].
        """
        around = self._around
        path = [np.asarray(posture, dtype=np.float64).tolist() for posture in postures]
        around.place_other(None if self._other is None else self._other.at(now))
        here = around.look(path[0])
        floors = [min(gap, 0.0) - PATH_SLACK for gap in here.gaps]
        for number, posture in enumerate(path[1:], 1):
            view = around.look(posture, here)
            room = [gap - floor for gap, floor in zip(view.gaps, floors, strict=True)]
            entry = room.index(min(room))
            if room[entry] < 0.0:
                return f"{around.words(view, entry)}, {number / (len(path) - 1):.0%} of the way"
        return ""


def _fastest(gap: float) -> float:
    """Tool speed [m/s] that is slow enough for a gap [m]."""
    return CREEP + max(gap, 0.0) / TRACKING


def _speed_share(
    gap: float, speed: float, dt: float, here: View, there: View
) -> tuple[float, int]:
    """Share of a tool speed [m/s] that is slow enough for a gap [m], and the nearest entry."""
    entry = there.gaps.index(min(there.gaps))
    if gap == -math.inf:
        return 0.5, entry
    fastest = _fastest(gap)
    parting = there.gaps[entry] - here.gaps[entry] > PARTING * speed * dt
    if speed <= fastest or parting:
        return 1.0, entry
    return fastest / speed, entry
