"""From trigger or stick to the opening of the gripper, which follows nothing that was not seen."""

from collections.abc import Sequence
from enum import Enum

from ate_core.operator_buttons import GripperInput

STICK_SPEED = 1.2
"""Opening per second at full stick; the gripper itself needs 0.7 s for all of it."""
LONGEST_STEP = 0.05
"""Time between two ticks up to which the stick moves the opening [s]."""
PUSHED, LET_GO = 0.3, 0.2
"""Stick above which it is pushed on purpose, and below which it is let go and leads nothing."""
STEADY, REST_TIME, END_STOP = 0.05, 2.0, 0.8
"""A stick rests where it stays within so much of one place for so long [s]; no thumb does that but
at the end of its way."""
OFF_CENTRE = "the Joy-Con's stick does not rest at its centre: calibrate it, or take another"


class _Wait(Enum):
    """What the gripper waits for before it follows."""

    NOTHING = 0
    CHANGE = 1
    """The trigger pressed or released, seen to happen."""
    PRESS = 2
    """The trigger pressed, or the stick moved, seen to happen."""


class _StickRest:
    """Finds where a worn stick rests, which then counts as its centre."""

    def __init__(self) -> None:
        self.place = 0.0
        """Where it rests, -1 .. 1; 0 where it belongs."""
        self._at = self._time = 0.0

    def step(self, stick: float, dt: float) -> float:
        """Take where the stick is, -1 .. 1, `dt` [s] after the last time; how far it is pushed."""
        if abs(stick - self._at) > STEADY:
            self._at, self._time = stick, 0.0
        self._time += dt
        if stick == 0.0:
            self.place = 0.0
        elif self._time >= REST_TIME and abs(stick) < END_STOP:
            self.place = self._at
        return 0.0 if self.place and abs(stick - self.place) <= STEADY else stick


class GripControl:
    """Opening ratio of one gripper; None until the trigger was moved on purpose.

    At the start, after a silence of the Joy-Con and after a stall nobody knows what the trigger
    did meanwhile, and it must not let an object fall. After a stop a release is not enough: it
    would open the gripper of whoever has let the trigger go. Where a release is no word for
    "open", as for toggle and stick, a press is always needed, and a first press closes.
    """

    def __init__(self, mode: GripperInput = "trigger") -> None:
        self._mode = mode
        self._unseen = _Wait.CHANGE if mode == "trigger" else _Wait.PRESS
        self._wait = self._unseen
        self._active: bool | None = None
        self._closed = False
        self._opening: float | None = None
        self._rest = _StickRest()
        self._is_pushed = False

    @property
    def trouble(self) -> str:
        """What is wrong with the stick that leads it, for its person; empty: nothing."""
        return OFF_CENTRE if self._rest.place else ""

    def step(
        self,
        trigger: bool | None,
        stick: float,
        *,
        stalled: bool,
        is_held: bool,
        measured: float | None,
        dt: float,
        passed: Sequence[bool] = (),
    ) -> float | None:
        """Take one tick; the opening wanted, or None: send nothing, the gripper holds.

        Args:
            trigger: whether it is held; None while the Joy-Con is silent.
            stick: vertical, -1 .. 1; up opens, 0 within its dead zone.
            stalled: whether what happened since the last tick was not seen.
            is_held: whether a stop, a freeze or the gripper itself keeps it from following.
            measured: opening that the gripper reports, where it is known.
            dt: time since the last tick [s].
            passed: whether the trigger was held in the reports before, since the last tick.
        """
        active = trigger
        if trigger is not None and self._mode == "stick":
            stick = self._rest.step(stick, min(dt, LONGEST_STEP))
            stick = stick if abs(stick) >= LET_GO else 0.0
            active = self._is_pushed = abs(stick) > (LET_GO if self._is_pushed else PUSHED)
        else:
            for one in passed:
                self._look(one, stalled=stalled, is_held=is_held)
        self._look(active, stalled=stalled, is_held=is_held)
        if active is None or self._wait is not _Wait.NOTHING:
            self._opening = None
            return None
        if self._mode == "stick":
            return self._lead(stick, measured, min(dt, LONGEST_STEP))
        closed = self._closed if self._mode == "toggle" else active
        return 0.0 if closed else 1.0

    def _look(self, active: bool | None, *, stalled: bool, is_held: bool) -> None:
        """See trigger or stick in use or not, and what it still waits for then."""
        before, self._active = self._active, active
        if is_held:
            self._wait = _Wait.PRESS
        elif active is None or before is None or stalled:
            if self._wait is _Wait.NOTHING:
                self._wait = self._unseen
        elif active is not before and (active or self._wait is not _Wait.PRESS):
            if active:
                self._closed = self._wait is not _Wait.NOTHING or not self._closed
            self._wait = _Wait.NOTHING

    def _lead(self, stick: float, measured: float | None, dt: float) -> float | None:
        start = measured if self._opening is None else self._opening
        if start is not None and (stick or self._opening is not None):
            self._opening = min(max(start + stick * STICK_SPEED * dt, 0.0), 1.0)
        return self._opening
