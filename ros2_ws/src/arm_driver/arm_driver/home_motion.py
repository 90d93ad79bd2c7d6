"""The way home of one arm: who asked for it, whether it is free, what interrupts and ends it."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arm_driver.homing import (
    ARRIVED,
    AT_HOME,
    HOME,
    HOME_SPEED,
    HomeButton,
    HomePath,
    Homing,
    PathCheck,
)
from ate_core.lease import LEASE_SILENCE
from ate_core.safety import SafetyFilter

Array = NDArray[np.float64]

Aside = Callable[[Callable[[], None]], None]
"""Does work that takes its time; nobody waits for it."""

PASSED = "a stop came and went"
"""Why motions ended where the stop is no longer in force."""
NO_STATE = "no fresh state of the arm"
"""Why a way home waits."""


def in_a_thread(work: Callable[[], None]) -> None:
    """Do it in a thread of its own."""
    threading.Thread(target=work, name="way home", daemon=True).start()


class Permit(NamedTuple):
    """Whether a way home may begin now."""

    refusal: str
    """Why not; empty when it may."""
    position: Array | None
    """Joints where it begins (n,) [rad]; None when it may not."""


@dataclass(eq=False)
class _Interruption:
    """A hiccup of stream, link or states on the way home."""

    began: float
    """When [s]."""
    is_whole: bool
    """Whether nobody has to hold a button for it to go on."""
    reason: str
    """What happened, or why it did not go on yet."""
    refusals: int = 0
    """How often it did not go on after a look."""


class HomeMotion:
    """One way home at a time, through the safety filter.

    After a hiccup it goes on as a commander does: from where the arm is, once the way was looked
    at anew, within ``LEASE_SILENCE``, and only if nobody stopped anything meanwhile. A button must
    still be held then.

    Threads: `home` and `hold` may be called from any; they look at the way without a lock. All
    else is called under the lock of the motion.
    """

    def __init__(
        self,
        home: ArrayLike,
        safety_filter: SafetyFilter,
        motion: threading.Lock,
        permit: Callable[[float], Permit],
        stops: Callable[[], int],
        *,
        path_problem: PathCheck | None,
        period: float,
        aside: Aside = in_a_thread,
    ) -> None:
        """Begin without a way.

        Args:
            home: joints of the home posture (n,) [rad].
            safety_filter: takes the points of the way.
            motion: guards it, and everything here.
            permit: tells whether a way may begin at a time [s].
            stops: counts all that ends motions, hiccups too.
            path_problem: judges a way before it begins; None: only the filter does, on the way.
            period: time between two steps [s].
            aside: looks at ways that a button or a hiccup asks for.
        """
        self._goal = np.asarray(home, dtype=np.float64)
        self._filter = safety_filter
        self._motion = motion
        self._permit = permit
        self._stops = stops
        self._path_problem = path_problem
        self._period = period
        self._aside = aside
        self._numbers = itertools.count(1)
        self._way: Homing | None = None
        self._interruption: _Interruption | None = None
        self._is_looking = False
        self._button = HomeButton()
        self._held_at = float("-inf")
        self.speed = HOME_SPEED
        """Largest joint speed [rad/s]; may be changed at any time."""
        self.ended = ""
        """Why the last way ended, or waits."""

    # --- from any thread ---------------------------------------------------------------------

    def home(self, now: float, stops: int | None = None) -> str:
        """Begin the whole way; returns why not, or nothing.

        Args:
            now: present time [s].
            stops: the stops so far when it was asked for; None: it is asked for now.
        """
        return self._begin(now, stops)

    def hold(self, now: float) -> str:
        """Go home as long as this is called at least every `homing.HOLD_SILENCE`; why not.

        It does not wait for the look at the way. A button that was held through a refusal, a stop
        or the end of the way must be released first.
        """
        with self._motion:
            self._held_at = now
            if self._way is not None and self._way.held_at is not None:
                self._way.held_at = now
            if self._way is not None or self._is_looking:
                return ""
            if self._button.is_spent(now):
                if self.ended == ARRIVED:
                    return ""
                return f"{self.ended or 'refused'}: release the home button first"
            refusal, position = self._permit(now)
            if position is None:
                if self._interruption is None:
                    self._refuse_button(refusal)
                return refusal
            if self._is_at_home(position):
                return ""
            self._is_looking = True
        self._look_aside(partial(self._look_for_button, now))
        return ""

    def go_on(self, now: float) -> None:
        """Look at the rest of an interrupted way, after `step` said so."""
        interruption = self._interruption
        if interruption is not None:
            self._look_aside(partial(self._look_again, now, interruption))

    # --- under the lock of the motion ----------------------------------------------------------

    @property
    def is_wanted(self) -> bool:
        """Whether a way is under way, or was interrupted."""
        return self._way is not None or self._interruption is not None

    def step(self, now: float, set_point: Array | None, is_ready: bool) -> bool:
        """Go on; whether `go_on` is to be called.

        Args:
            now: present time [s].
            set_point: what was sent last (n,) [rad]; None: nothing.
            is_ready: whether the arm's state is known and its set point is ours.
        """
        if self._way is not None and not is_ready:
            self.interrupt(NO_STATE, now)
        if self._interruption is not None:
            return self._wait(self._interruption, now, is_ready)
        if self._way is None:
            return False
        reason = self._way.end(now)
        if not reason:
            reason = self._filter.submit(self._way.command(now, set_point), now).reason
        if reason:
            self.end(reason)
        return False

    def interrupt(self, reason: str, now: float) -> None:
        """Give the arm back for a moment: who asked goes on asking, or need not.

        Args:
            reason: what happened, for people.
            now: present time [s].
        """
        way, self._way = self._way, None
        if way is not None:
            self._filter.release(HOME, way.source)
        if self._interruption is None and (way is not None or self._is_looking):
            is_whole = way is not None and way.held_at is None
            self._interruption = _Interruption(began=now, is_whole=is_whole, reason=reason)
            self.ended = f"the way home waits: {reason}"

    def end(self, reason: str) -> None:
        """End the way, also one that was interrupted, and the meaning of a button held now."""
        self._button.spend(self._held_at)
        if self.is_wanted:
            self.ended = reason
        if self._way is not None:
            self._filter.release(HOME, self._way.source)
        self._way = self._interruption = None

    def _wait(self, interruption: _Interruption, now: float, is_ready: bool) -> bool:
        if self._is_looking:
            return False
        is_late = now - interruption.began >= LEASE_SILENCE
        if is_late and not (is_ready and interruption.is_whole and interruption.refusals == 0):
            self.end(f"the way home was interrupted ({interruption.reason}): ask for it anew")
            return False
        self._is_looking = is_ready and interruption.is_whole
        return self._is_looking

    def _refuse_button(self, refusal: str) -> None:
        self.ended = refusal
        self._button.spend(self._held_at)

    def _is_at_home(self, position: Array) -> bool:
        return float(np.max(np.abs(position - self._goal))) <= AT_HOME

    # --- looking at the way, without a lock --------------------------------------------------

    def _look_aside(self, work: Callable[[], None]) -> None:
        try:
            self._aside(work)
        except RuntimeError as error:  # no thread to be had now
            with self._motion:
                self._is_looking = False
                self.end(f"the way home cannot be looked at: {error}")

    def _look_for_button(self, now: float) -> None:
        refusal = "the look at the way failed"
        try:
            refusal = self._begin(now, is_held=True)
        finally:
            with self._motion:
                self._is_looking = False
                if refusal and self._interruption is None:
                    self._refuse_button(refusal)

    def _look_again(self, now: float, interruption: _Interruption) -> None:
        refusal = "the look at the way failed"
        try:
            refusal = self._begin(now, after=interruption)
        finally:
            with self._motion:
                self._is_looking = False
                interruption.refusals += bool(refusal)
                interruption.reason = refusal or interruption.reason

    def _begin(
        self,
        now: float,
        stops: int | None = None,
        is_held: bool = False,
        after: _Interruption | None = None,
    ) -> str:
        """Look at the way and begin it; why not, or nothing.

        Args:
            now: present time [s].
            stops: the stops so far when it was asked for; None: it is asked for now.
            is_held: whether it lasts as long as the button is held.
            after: the interruption that it ends; nothing begins when that is over.
        """
        stops = self._stops() if stops is None else stops
        refusal, position = self._permit(now)
        if position is None:
            return refusal
        there = self._is_at_home(position)
        if not there and self._path_problem is not None:
            refusal = self._path_problem(position, self._goal)
        if refusal:
            return refusal
        path = HomePath(position, self._goal, now, self.speed, self._period)
        with self._motion:
            if self._stops() != stops or (after is not None and self._interruption is not after):
                return self._permit(now).refusal or PASSED
            if there or self._way is not None:
                self._interruption = None
                return ""
            # Also a button released while the way was looked at ends it before it moves.
            held_at = self._held_at if is_held else None
            way = Homing(path, held_at, f"way {next(self._numbers)}")
            refusal = self._filter.submit(way.command(now, None), now).reason
            if not refusal:
                self._way, self._interruption, self.ended = way, None, ""
            return refusal
