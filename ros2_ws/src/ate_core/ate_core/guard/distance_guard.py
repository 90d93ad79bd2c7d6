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
from operator import sub
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.contract import Cell
from ate_core.errors import SafetyError
from ate_core.guard.other_arm import OtherArm
from ate_core.guard.slide import Slide, aside, dot
from ate_core.guard.surroundings import Surroundings
from ate_core.guard.view import View, tightest
from ate_core.guard.way import WayToRest
from ate_core.motion_guard import GuardVerdict, StoppingPosture
from ate_core.motion_profile import Motion

Array = NDArray[np.float64]

TRIES = 5
"""Steps tried between the wanted one and braking."""
SLIDES = 2
"""Surfaces along which a step may be turned."""
CAUTION = 0.9
"""Share taken of the step that looks allowed: distances are curved."""
LEAST = 0.01
"""Share of the wanted step below which the arm brakes."""
TRACKING = 0.03
"""Distance kept for each metre per second of the tool [s]: joints lag behind their set points,
each by its own time, so a fast tool runs beside its path."""
PARTING = 0.5
"""Share of the tool's motion that must widen the nearest gap to count as moving away."""
PARTING_INSIDE = 0.1
"""The same inside the stop distance, which an arm must always be able to leave."""
CREEP = 0.03
"""Tool speed that is always near enough to the path [m/s]."""
HOVER = 0.0005
"""Gap above a surface at which an arm that slides on comes no nearer [m]."""
SETTLED = 0.003
"""Gap up to which an arm at a surface is taken to be as fast as it is told [m]."""
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
    rest: list[float]
    """Where the arm comes to rest when it brakes now (n,) [rad]."""
    dt: float
    """Length of the step [s]."""


class _Try(NamedTuple):
    """A velocity that may pass."""

    aim: Array
    """The velocity (n,) [rad/s]."""
    there: list[float]
    """Where the arm comes to rest after a step with it (n,) [rad]."""
    turns: list[float]
    """How far each joint is at most from there until then (n,) [rad]."""
    motions: list[Motion]
    """Motion of each joint after the step (n)."""
    speed: float
    """Speed of the tool at it, or a bound of that [m/s]."""
    slides: bool = False
    """Whether it goes along what held the arm before; then the bound is close."""


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
        self._slide: Slide | None = None
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
        rest, aims = stopping(self._zeros).tolist(), wanted.tolist()
        if max(map(abs, aims)) < AT_REST:
            return GuardVerdict(velocity=wanted, near=around.near_other(rest))
        step = _Step(q.tolist(), rest, dt)
        first = self._as_before(step, aims, stopping)
        if first is None:
            return self._from_wanted(step, wanted, aims, stopping)
        verdict = self._largest_step(step, first, stopping)
        assert verdict is not None, "what slides is not what was wanted"
        return verdict

    def _from_wanted(
        self, step: _Step, wanted: Array, aims: list[float], stopping: StoppingPosture
    ) -> GuardVerdict:
        """Velocity to aim for, sought from the wanted one on; ``aims`` are its numbers (n,)."""
        around, most = self._around, self._tool_speed
        aim, reason = wanted, ""
        speed = around.tool_speed(step.place, aims, step.dt, most)
        if speed > most:
            aim = wanted * (most / speed)
            reason = f"{self.side} tool is slowed from {speed:.2f} to {most:g} m/s"
            speed = most
        tried = _tried(step, aim, stopping, speed)
        # After a step that was slowed the next mostly is, and has to be looked at anyway.
        if self._was_slowed or not self._is_allowed(step, tried):
            slowed = self._largest_step(step, tried, stopping)
            self._was_slowed = slowed is not None
            if slowed is not None:
                return slowed
        self._slide = None
        return GuardVerdict(velocity=aim, reason=reason, near=around.near_other(tried.there))

    def _is_allowed(self, step: _Step, tried: _Try) -> bool:
        """Whether a velocity may be taken as it is; False: that cannot be told without views."""
        enough = TRACKING * (tried.speed - CREEP)
        is_allowed, least = self._around.is_allowed(
            step.rest, tried.there, tried.turns, step.dt, enough
        )
        if is_allowed or least is None or min(least.gaps) <= 0.0:
            return is_allowed
        return self._allowed_speed(step, tried, least, least)[0] >= 1.0

    def _as_before(
        self, step: _Step, wanted: list[float], stopping: StoppingPosture
    ) -> _Try | None:
        """What may pass of a wanted velocity (n,) [rad/s], told from the step before.

        An arm that slid along a surface mostly slides on: so it is tried first whether it may do
        so `HOVER` above it, as fast as the tool may be there. That saves the search for it; it is
        looked at like anything else.
        """
        slide, around = self._slide, self._around
        if slide is None:
            return None
        here = around.look(step.rest)
        if here.detailed or here.source(slide.entry)[1] != slide.pair:
            return None
        gap, width = here.gaps[slide.entry], here.widths[slide.entry]
        self._slide = slide = slide.at(step.rest, gap)
        if slide is None:
            return None
        rate, gap = min(self._tool_speed / width, 1.0 / step.dt), min(gap, width)
        approach = -dot(slide.slope, wanted)
        if gap > SETTLED:  # it may still be taking up speed
            there = stopping(np.array(wanted)).tolist()
            shrinks = -dot(slide.slope, list(map(sub, there, step.rest))) / step.dt
        else:
            shrinks = approach
        if shrinks <= rate * gap:
            return None
        kept = CAUTION * rate * max(gap - HOVER, -HOVER) / shrinks * approach
        return self._along(step, wanted, kept, here, stopping)

    def _along(
        self,
        step: _Step,
        wanted: list[float],
        approach: float,
        here: View,
        stopping: StoppingPosture,
    ) -> _Try | None:
        """What goes along the surface of the slide, and nearer to it with some speed [m/s]."""
        parts = None if self._slide is None else self._slide.along(wanted)
        if parts is None:
            return None
        along, away = parts
        fastest = CAUTION * min(_fastest(min(here.gaps)), self._tool_speed)
        speed = self._around.tool_speed(step.place, along, step.dt, fastest)
        share = fastest / speed if speed > fastest else 1.0
        aim = np.array([share * a - approach * b for a, b in zip(along, away, strict=True)])
        speed = share * speed + abs(approach) * self._around.lever_speed(away)
        return _tried(step, aim, stopping, speed, slides=True)

    def _largest_step(
        self, step: _Step, first: _Try, stopping: StoppingPosture
    ) -> GuardVerdict | None:
        """What is let through of a step that something may slow; None: all that is tried first.

        Args:
            step: where it begins.
            first: what is tried first; what slides is told of in any case.
            stopping: where the arm comes to rest after a step with any velocity.
        """
        around = self._around
        here = around.look(step.rest)
        if not first.slides:
            self._slide = None
        tried, aim, share = first, first.aim, 1.0
        slowed_by = here, 0 if self._slide is None else self._slide.entry
        turns = SLIDES - first.slides
        for _ in range(TRIES):
            view = around.look(tried.there, here)
            allowed, entry = tightest(here, view, self._tool_speed * step.dt)
            if allowed >= 1.0:
                allowed, entry = self._allowed_speed(step, tried, here, view)
                if allowed >= 1.0:
                    break
            elif turns > 0:
                turns -= 1
                turned = self._turned(aim, tried.there, view, entry, CAUTION * max(allowed, 0.0))
                if turned is not None:
                    aim, slowed_by = turned, (view, entry)
                    tried = _tried(step, aim * share, stopping, math.inf)
                    continue
            slowed_by = view, entry
            share *= CAUTION * allowed
            if allowed < LEAST:
                share = 0.0
                break
            speed = tried.speed * CAUTION * allowed
            tried = _tried(step, aim * share, stopping, speed, slides=tried.slides)
        else:
            share = 0.0
        if tried is first and share > 0.0 and not first.slides:
            return None
        reason, near = around.words(*slowed_by), around.words_of_other(here, entry)
        return GuardVerdict(velocity=aim * share, reason=reason, near=near)

    def _turned(
        self, aim: Array, there: list[float], view: View, entry: int, kept: float
    ) -> Array | None:
        """Velocity that goes along what is in its way; None where it cannot, or would anyway.

        Args:
            aim: velocity (n,) [rad/s].
            there: where the arm would come to rest (n,) [rad].
            view: view of it.
            entry: what is too near there.
            kept: share of the approach that may stay.
        """
        slope = self._around.slope(there, view, entry)
        turned = None if slope is None else aside(aim.tolist(), slope, kept)
        if slope is None or turned is None:
            return None
        if not view.detailed:
            pair, gap = view.source(entry)[1], view.gaps[entry]
            self._slide = Slide(entry, pair, slope, gap, there, there)
        return np.array(turned)

    def _allowed_speed(
        self, step: _Step, tried: _Try, here: View, there: View
    ) -> tuple[float, int]:
        """Share of a velocity at which the tool is slow enough, and the nearest entry.

        Args:
            step: where it begins.
            tried: the velocity.
            here: view of where the arm stops when it brakes now.
            there: view of where it comes to rest.
        """
        speed = tried.speed
        way = WayToRest(self._around, tried.motions, tried.turns, tried.there, there)
        gap, is_bound = way.surely_left(), True
        if speed > _fastest(gap) and not (tried.slides and gap <= 0.0):
            speed, is_bound = self._exact_speed(step, tried, gap), False
        if gap <= 0.0 or speed > _fastest(gap):
            gap = way.least_gap(here, TRACKING * (speed - CREEP))
            if is_bound and speed > _fastest(gap):
                speed = self._exact_speed(step, tried, gap)
        return _speed_share(gap, speed, step.dt, here, there)

    def _exact_speed(self, step: _Step, tried: _Try, gap: float) -> float:
        """Speed of the tool [m/s], or a bound that is slow enough for a gap [m]."""
        return self._around.tool_speed(step.place, tried.aim.tolist(), step.dt, _fastest(gap))

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


def _tried(
    step: _Step, aim: Array, stopping: StoppingPosture, speed: float, *, slides: bool = False
) -> _Try:
    """A velocity (n,) [rad/s], with the way on which the arm comes to rest after it.

    Args:
        step: where it begins.
        aim: the velocity.
        stopping: where the arm comes to rest, for any velocity.
        speed: of the tool at it, or a bound of that [m/s].
        slides: whether it goes along what held the arm before.
    """
    ways = stopping.ways(aim)
    turns = [
        max(abs(end - q), end - low, high - end)
        for q, (_, (end, low, high)) in zip(step.place, ways, strict=True)
    ]
    there = [end for _, (end, _, _) in ways]
    return _Try(aim, there, turns, [motion for motion, _ in ways], speed, slides)


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
    least = PARTING if here.gaps[entry] > 0.0 else PARTING_INSIDE
    parting = there.gaps[entry] - here.gaps[entry] > least * speed * dt
    if speed <= fastest or parting:
        return 1.0, entry
    return fastest / speed, entry
