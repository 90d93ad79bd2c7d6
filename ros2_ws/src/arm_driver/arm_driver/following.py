"""Follows one checked trajectory, tick by tick, and says how it ended. No ROS.

Where the arm is held back, as by the distance guard, the path waits for it: it is then taken
later, never cut. Time is an argument.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

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
    REFUSED = "refused"  # by the safety filter: a stop, another commander, no feedback
    BLOCKED = "blocked"  # the arm did not follow for `PATIENCE`
    OFF_PATH = "off the path"  # further from the path than the request tolerates
    OFF_GOAL = "off the goal"  # not within the goal's tolerance in time


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A trajectory to follow."""

    trajectory: Trajectory
    """The path."""
    source: str
    """Publisher or action goal that sent it."""
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


Submit = Callable[[Array, str], str]
"""Commands a posture (n,) [rad] for a source; returns why it was refused, or nothing."""


class TrajectoryFollower:
    """At most one trajectory at a time. `step` belongs to one thread, the rest to any."""

    def __init__(self, submit: Submit) -> None:
        """Prepare.

        Args:
            submit: commands the arm.
        """
        self._submit = submit
        self._lock = threading.Lock()
        self._request: Request | None = None
        self._clock = _clock(0.0)
        self._progress: Progress | None = None
        self.on_end: Callable[[str], object] = lambda source: None
        """Called with the source of each trajectory that ended, before its own ``on_end``."""

    @property
    def source(self) -> str:
        """Who sent what is followed; empty while nothing is."""
        request = self._request
        return "" if request is None else request.source

    @property
    def progress(self) -> Progress | None:
        """Where it stands; None before it moves."""
        return self._progress

    def start(self, request: Request) -> None:
        """Follow a trajectory; the one before is cancelled."""
        self.cancel("replaced by a newer trajectory")
        with self._lock:
            self._request, self._progress = request, None
            self._clock = _clock(request.begin)

    def cancel(self, reason: str, source: str = "") -> bool:
        """Stop following; whether there was something to stop.

        Args:
            reason: why, told to whoever sent it.
            source: only where it is of this source; empty: of any.
        """
        request = self._request
        if request is None or source not in ("", request.source):
            return False
        return self._end(request, Outcome.CANCELLED, reason)

    def step(self, now: float, measured: Array | None, set_point: Array | None) -> None:
        """Command the next point.

        Args:
            now: monotonic time [s].
            measured: joints (n,) [rad]; None when they are missing.
            set_point: what was sent to the device (n,) [rad]; None: nothing yet.
        """
        request = self._request
        if request is None or now < request.begin:
            return
        if measured is None:
            self._end(request, Outcome.REFUSED, "no state of the arm")
            return
        point = self._clock.advance(now, request.trajectory.at, set_point)
        self._progress = Progress(desired=point, actual=measured, elapsed=self._clock.elapsed)
        refusal = self._submit(point, request.source)
        if refusal:
            self._end(request, Outcome.REFUSED, refusal)
            return
        self._judge(request, point, measured)

    def _judge(self, request: Request, point: Array, measured: Array) -> None:
        away = np.abs(measured - point)
        late = self._clock.elapsed - request.trajectory.duration
        if request.path_tolerance is not None and late < 0.0:
            joint = int(np.argmax(away - request.path_tolerance))
            if away[joint] > request.path_tolerance[joint]:
                reason = (
                    f"joint {joint + 1} is {away[joint]:.3f} rad off the path, tolerated "
                    f"{request.path_tolerance[joint]:.3f} rad"
                )
                self._end(request, Outcome.OFF_PATH, reason)
                return
        if self._clock.is_blocked:
            reason = f"the arm did not follow for {PATIENCE:.0f} s: drive it free"
            self._end(request, Outcome.BLOCKED, reason)
        elif late >= 0.0 and bool(np.all(away <= request.goal_tolerance)):
            self._end(request, Outcome.ARRIVED, "")
        elif late > request.goal_time:
            reason = f"{float(np.max(away)):.3f} rad off the goal {late:.1f} s after its time"
            self._end(request, Outcome.OFF_GOAL, reason)

    def _end(self, request: Request, outcome: Outcome, reason: str) -> bool:
        with self._lock:
            if self._request is not request:
                return False
            self._request = None
        self.on_end(request.source)
        request.on_end(outcome, reason)
        return True


def _clock(begin: float) -> PathClock:
    return PathClock(begin, longest_tick=LONGEST_TICK, lead=LEAD)
