"""Follows one checked trajectory, tick by tick, and says how it ended. No ROS.

Where the arm is held back, as by the distance guard, the path waits for it: it is then taken
later, never cut. Time is an argument.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arm_driver.path_clock import PATIENCE, PathClock
from arm_driver.trajectory import Trajectory

Array = NDArray[np.float64]

LEAD = 0.15
"""The path waits while its point is further from the set point than this [rad]."""
LONGEST_TICK = 0.03
"""A later tick does not catch up [s]."""
GOAL_TOLERANCE = 0.05
"""Distance of the measured joints from the goal within which the arm has arrived [rad]."""
GOAL_TIME = 2.0
"""How much later than planned it may arrive [s]."""


class Outcome(StrEnum):
    """How a trajectory ended."""

    ARRIVED = "arrived"
    CANCELLED = "cancelled"  # by whoever sent it, or another operator
    REFUSED = "refused"  # a stop, another commander, no feedback
    BLOCKED = "blocked"  # the arm did not follow for `PATIENCE`
    OFF_PATH = "off the path"  # further from the path than the request tolerates
    OFF_GOAL = "off the goal"  # not within the goal's tolerance in time


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A trajectory to follow."""

    trajectory: Trajectory
    """The path."""
    begin: float
    """When it starts, monotonic clock [s]."""
    path_tolerance: Array | None = None
    """Distance from the path that ends it (n,) [rad]; None: any."""
    goal_tolerance: Array | float = GOAL_TOLERANCE
    """Distance from the goal within which it has arrived (n,) [rad]."""
    goal_time: float = GOAL_TIME
    """How much later than planned it may arrive [s]."""
    on_end: Callable[[Outcome, str], None] = field(default=lambda outcome, reason: None)
    """Called once, in any thread, with the outcome and its reason."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Progress:
    """Where a trajectory stands."""

    desired: Array
    """Point of the path (n,) [rad]."""
    actual: Array
    """Measured joints (n,) [rad]."""
    elapsed: float
    """Time along the path [s]."""


@dataclass(kw_only=True, eq=False)
class Asked:
    """A trajectory from when it was asked for to its end: what ends motions meanwhile ends it."""

    source: str
    """Publisher or action goal that asked."""
    stops: int
    """Stops so far at that moment."""
    void: str = ""
    """Why it must not begin any more; empty while it may."""
    request: Request | None = None
    """What is followed; None while it is still looked at."""


Submit = Callable[[Array, str], str]
"""Commands a posture (n,) [rad] for a source; returns why it was refused, or nothing."""


class Stops(Protocol):
    """What ends motions; see `arm_driver.driver.ArmDriver`."""

    @property
    def stops_so_far(self) -> int:
        """Counts stops of any cause and new links."""

    @property
    def refusal(self) -> str:
        """Why no motion may begin now; empty when one may."""


class TrajectoryFollower:
    """At most one trajectory at a time. `step` belongs to one thread, the rest to any.

    No trajectory outlives a stop, a fault, a new link or a deactivation, whether it is followed,
    waits for its start or is still looked at: it would move an arm that somebody enabled anew.
    """

    def __init__(self, submit: Submit, stops: Stops) -> None:
        """Prepare.

        Args:
            submit: commands the arm.
            stops: tells what ended motions.
        """
        self._submit = submit
        self._stops = stops
        self._lock = threading.Lock()
        self._asked: Asked | None = None  # the newest, still looked at
        self._followed: Asked | None = None
        self._clock = _clock(0.0)
        self._progress: Progress | None = None
        self.on_end: Callable[[str], object] = lambda source: None
        """Called with the source of each trajectory that ended, before its own ``on_end``."""

    @property
    def source(self) -> str:
        """Who sent what is followed; empty while nothing is."""
        followed = self._followed
        return "" if followed is None else followed.source

    @property
    def progress(self) -> Progress | None:
        """Where it stands; None before it moves."""
        return self._progress

    def ask(self, source: str) -> Asked:
        """Note that a trajectory is asked for now; what was still looked at is given up.

        Args:
            source: publisher or action goal that asks.
        """
        asked = Asked(source=source, stops=self._stops.stops_so_far)
        asked.void = self._stops.refusal
        with self._lock:
            if self._asked is not None:
                self._asked.void = "a newer trajectory came meanwhile"
            self._asked = asked
        return asked

    def start(self, asked: Asked, request: Request) -> str:
        """Follow a trajectory that was looked at; returns why not, or nothing.

        The one before is cancelled.

        Args:
            asked: when and by whom it was asked for.
            request: what to follow.
        """
        refusal = self._why_not(asked)
        if refusal:
            return refusal
        self.cancel("replaced by a newer trajectory", besides=asked)
        with self._lock:
            refusal = self._why_not(asked)
            if not refusal:
                asked.request = request
                self._asked, self._followed = None, asked
                self._progress, self._clock = None, _clock(request.begin)
        return refusal

    def cancel(self, reason: str, source: str = "", besides: Asked | None = None) -> bool:
        """Stop following, and follow nothing that is still looked at; whether one was followed.

        Args:
            reason: why, told to whoever sent it.
            source: only what is of this source; empty: of any.
            besides: what goes on.
        """
        with self._lock:
            asked, followed = self._asked, self._followed
            if asked is not None and asked is not besides and source in ("", asked.source):
                asked.void = asked.void or reason
        if followed is None or source not in ("", followed.source):
            return False
        return self._end(followed, Outcome.CANCELLED, reason)

    def step(self, now: float, measured: Array | None, set_point: Array | None) -> None:
        """Command the next point.

        Args:
            now: monotonic time [s].
            measured: joints (n,) [rad]; None when they are missing.
            set_point: what was sent to the device (n,) [rad]; None: nothing yet.
        """
        followed = self._followed
        if followed is None or followed.request is None:
            return
        request = followed.request
        refusal = self._why_not(followed)
        if not refusal and measured is None:
            refusal = "no state of the arm"
        if refusal or measured is None:
            self._end(followed, Outcome.REFUSED, refusal)
            return
        if now < request.begin:
            return
        if self._progress is None:
            refusal = request.trajectory.start_problem(measured)
        if not refusal:
            point = self._clock.advance(now, request.trajectory.at, set_point)
            self._progress = Progress(desired=point, actual=measured, elapsed=self._clock.elapsed)
            refusal = self._submit(point, followed.source)
        if refusal:
            self._end(followed, Outcome.REFUSED, refusal)
            return
        self._judge(followed, request, point, measured)

    def _why_not(self, asked: Asked) -> str:
        """Why what was asked for must not begin, nor go on; empty when it may."""
        if not asked.void and self._stops.stops_so_far != asked.stops:
            asked.void = self._stops.refusal or "a stop or a new link came meanwhile: send it anew"
        return asked.void

    def _judge(self, followed: Asked, request: Request, point: Array, measured: Array) -> None:
        away = np.abs(measured - point)
        late = self._clock.elapsed - request.trajectory.duration
        if request.path_tolerance is not None and late < 0.0:
            joint = int(np.argmax(away - request.path_tolerance))  # one that is no number first
            if not away[joint] <= request.path_tolerance[joint]:
                reason = (
                    f"joint {joint + 1} is {away[joint]:.3f} rad off the path, tolerated "
                    f"{request.path_tolerance[joint]:.3f} rad"
                )
                self._end(followed, Outcome.OFF_PATH, reason)
                return
        if self._clock.is_blocked:
            reason = f"the arm did not follow for {PATIENCE:.0f} s: drive it free"
            self._end(followed, Outcome.BLOCKED, reason)
        elif late >= 0.0 and bool(np.all(away <= request.goal_tolerance)):
            self._end(followed, Outcome.ARRIVED, "")
        elif late > request.goal_time:
            reason = f"{float(np.max(away)):.3f} rad off the goal {late:.1f} s after its time"
            self._end(followed, Outcome.OFF_GOAL, reason)

    def _end(self, followed: Asked, outcome: Outcome, reason: str) -> bool:
        with self._lock:
            if self._followed is not followed or followed.request is None:
                return False
            self._followed = None
        self.on_end(followed.source)
        followed.request.on_end(outcome, reason)
        return True


def _clock(begin: float) -> PathClock:
    return PathClock(begin, longest_tick=LONGEST_TICK, lead=LEAD)
