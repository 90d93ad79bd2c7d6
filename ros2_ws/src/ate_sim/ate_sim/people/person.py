"""One scripted person: a hand in front of a headset and a Joy-Con in the other hand."""

from collections.abc import Callable
from itertools import count
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Side
from ate_core.geometry import interpolate_pose, rotation_log, rpy_to_matrix, transform
from ate_sim.people.tremor import Tremor

Array = NDArray[np.float64]

REST_POSE = transform(rpy_to_matrix([0.0, 0.0, -0.5 * np.pi]), [0.15, 0.35, -0.35])
"""Where the right hand rests, wrist to headset (4, 4): right of, before and below the eyes, with
the fingers forward; a right wrist's x runs from the fingertips to the elbow."""


HAND_SPEED = 1.0
"""Fastest motion of a hand; quicker ones look like lost tracking [m/s]."""
HAND_TURN = 4.0
"""Fastest turn of a hand [rad/s]."""


HELD, LET_GO = 80, 60
"""Looks, 90 a second, for which people squeeze a clutch whose lamp stays dark, and let it go
before they try again: an arm that must not follow yet wants half a second of silence."""


class HandStream(Protocol):
    """The headset that shows a person's hands to the teleoperation."""

    def set_wrist(self, hand: Side, transform_wrist_to_headset: Array) -> None:
        """Move a hand; (4, 4)."""

    def set_tracked(self, hand: Side, tracked: bool) -> None:
        """Show or hide a hand."""


class Buttons(Protocol):
    """The Joy-Con in a person's other hand."""

    def press(self, name: str) -> None:
        """Hold a button down."""

    def release(self, name: str) -> None:
        """Let a button go."""

    def drop(self) -> None:
        """Fall asleep: the link is cut."""

    def restore(self) -> None:
        """Wake up."""

    @property
    def lamps(self) -> int:
        """Player lamps that are on, lamp 1 = bit 0."""


class Person:
    """Moves one hand and presses buttons; knows the robot only by its lamps."""

    def __init__(
        self,
        hand_name: Side,
        hand_stream: HandStream,
        buttons: Buttons,
        tremor: Tremor | None = None,
    ) -> None:
        """Rest the hand with all buttons up.

        Args:
            hand_name: The hand that leads the arm.
            hand_stream: Shows that hand.
            buttons: The Joy-Con.
            tremor: Unrest of the hand; None for the headset's own noise only.
        """
        self.hand: Array = REST_POSE.copy()
        """Where the hand should be, wrist to headset (4, 4)."""
        self._hand_name = hand_name
        self._hand_stream = hand_stream
        self._buttons = buttons
        self._tremor = tremor
        self._held: set[str] = set()
        self._asleep = False

    def reach(self, pose: Array, dt: float) -> None:
        """Bring the hand to `pose` (4, 4), as far as a hand can in `dt` [s]."""
        distance = float(np.linalg.norm(pose[:3, 3] - self.hand[:3, 3]))
        angle = float(np.linalg.norm(rotation_log(self.hand[:3, :3].T @ pose[:3, :3])))
        time = max(distance / HAND_SPEED, angle / HAND_TURN, 1e-9)
        self.hand = pose if time <= dt else interpolate_pose(self.hand, pose, dt / time)

    def tick(self, dt: float) -> None:
        """Show the hand where it should be, `dt` [s] after the last time."""
        unrest = np.eye(4) if self._tremor is None else self._tremor.step(dt)
        self._hand_stream.set_wrist(self._hand_name, self.hand @ unrest)

    def hold(self, button: str, down: bool = True) -> bool:
        """Hold a button down, or let it go; returns whether that changed anything."""
        if down == (button in self._held):
            return False
        if down:
            self._held.add(button)
            self._buttons.press(button)
        else:
            self._held.remove(button)
            self._buttons.release(button)
        return True

    def holds(self, button: str) -> bool:
        """Whether a button is held down."""
        return button in self._held

    def show_hand(self, seen: bool) -> None:
        """Bring the hand into the headset's view, or out of it."""
        self._hand_stream.set_tracked(self._hand_name, seen)

    def sleep(self) -> None:
        """Let the Joy-Con fall asleep."""
        self._asleep = True
        self._buttons.drop()

    def wake(self) -> None:
        """Wake the Joy-Con up."""
        self._buttons.restore()
        self._asleep = False

    def release_all(self) -> None:
        """Let every button go."""
        for button in tuple(self._held):
            self.hold(button, down=False)

    def lamp(self, number: int) -> bool:
        """Whether player lamp 1..4 is lit; none is while the Joy-Con sleeps."""
        return not self._asleep and bool(self._buttons.lamps >> (number - 1) & 1)


def squeezing(person: Person, clutch: str, lamp: int) -> Callable[[], bool]:
    """Return a condition that squeezes a clutch, again while its lamp is dark.

    Args:
        person: whose clutch.
        clutch: its button.
        lamp: that answers.
    """
    looks = count()

    def lit() -> bool:
        person.hold(clutch, down=next(looks) % (HELD + LET_GO) < HELD)
        return person.lamp(lamp)

    return lit
