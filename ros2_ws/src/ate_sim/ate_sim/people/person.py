"""One scripted person: a hand in front of a headset and a Joy-Con in the other hand.

What a person does has the names of a cell's ``buttons`` (`ate_core.operator_buttons`). Which
button that is, and how the gripper is worked, is known here only.
"""

from collections.abc import Callable
from itertools import count
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Side
from ate_core.devices import OperatorConfig
from ate_core.geometry import interpolate_pose, rotation_log, rpy_to_matrix, transform
from ate_core.operator_buttons import THUMB_BUTTONS, operator_buttons
from ate_sim.people.grip import PUSH, TAP, SwitchedGrip
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


CLUTCH, GRIPPER, HOME = "clutch", "gripper", "home"
"""Actions that last as long as they are held, by their names in a cell's ``buttons``."""
STOP = "stop"
"""The emergency stop: an action that no cell gives to other buttons."""


def actions_of(operator: OperatorConfig) -> frozenset[str]:
    """Actions that the cell of an operator has a button for, or the stick, and the stop."""
    led = {GRIPPER} if operator.gripper_input == "stick" else set()
    return frozenset({*operator_buttons(operator.joycon_side, operator.buttons), *led, STOP})


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

    def set_stick(self, horizontal: float, vertical: float) -> None:
        """Hold the stick, -1 .. 1 each."""

    def drop(self) -> None:
        """Fall asleep: the link is cut."""

    def restore(self) -> None:
        """Wake up."""

    @property
    def lamps(self) -> int:
        """Player lamps that are on, lamp 1 = bit 0."""


class Person:
    """Moves one hand and does what the cell has buttons for; knows the robot by its lamps."""

    def __init__(
        self,
        operator: OperatorConfig,
        hand_stream: HandStream,
        buttons: Buttons,
        tremor: Tremor | None = None,
        sees_closed: Callable[[], bool | None] = lambda: None,
    ) -> None:
        """Rest the hand with all buttons up.

        Args:
            operator: The hand that leads the arm, and what each button does.
            hand_stream: Shows that hand.
            buttons: The Joy-Con.
            tremor: Unrest of the hand; None for the headset's own noise only.
            sees_closed: Whether the fingers are closed, where presses switch them; None: unseen.
        """
        self.hand: Array = REST_POSE.copy()
        """Where the hand should be, wrist to headset (4, 4)."""
        self._hand_name = operator.hand
        self._hand_stream = hand_stream
        self._buttons = buttons
        self._tremor = tremor
        self._held: set[str] = set()
        self._pressed: set[str] = set()
        self._asleep = False
        self._actions = actions_of(operator)
        chosen = operator_buttons(operator.joycon_side, operator.buttons)
        self._chosen = {action: {button} for action, button in chosen.items()}
        self._chosen[STOP] = set(sorted(THUMB_BUTTONS[operator.joycon_side])[:2])
        self._grip: SwitchedGrip | None = None
        if operator.gripper_input == "toggle" and self.can(GRIPPER):
            self._grip = SwitchedGrip(self._press_trigger, TAP, sees_closed)
        elif operator.gripper_input == "stick":
            self._grip = SwitchedGrip(lambda way: buttons.set_stick(0.0, way), PUSH, sees_closed)

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
        if self._grip is not None:
            self._grip.tick(dt)

    def can(self, action: str) -> bool:
        """Whether the cell has a button for an action."""
        return action in self._actions

    def hold(self, action: str, down: bool = True) -> bool:
        """Go on with an action, or end it; returns whether that changed anything.

        The gripper is closed as long as it is held, also where presses switch it or a stick leads
        it. An action without a button changes nothing.
        """
        if not self.can(action):
            return False
        if action == GRIPPER and self._grip is not None:
            return self._grip.want(down)
        if down == (action in self._held):
            return False
        (self._held.add if down else self._held.remove)(action)
        self._press()
        return True

    def holds(self, action: str) -> bool:
        """Whether an action goes on."""
        if action == GRIPPER and self._grip is not None:
            return self._grip.closed
        return action in self._held

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
        """Let every button go, and open the gripper."""
        for action in (*self._held, GRIPPER):
            self.hold(action, down=False)

    def lamp(self, number: int) -> bool:
        """Whether player lamp 1..4 is lit; none is while the Joy-Con sleeps."""
        return not self._asleep and bool(self._buttons.lamps >> (number - 1) & 1)

    def _press_trigger(self, way: float) -> None:
        (self._held.add if way else self._held.discard)(GRIPPER)
        self._press()

    def _press(self) -> None:
        """Bring the buttons to what is held; the stop and an action may share one."""
        wanted = {button for action in self._held for button in self._chosen[action]}
        for button in sorted(self._pressed - wanted):
            self._buttons.release(button)
        for button in sorted(wanted - self._pressed):
            self._buttons.press(button)
        self._pressed = wanted


def squeezing(person: Person, lamp: int) -> Callable[[], bool]:
    """Return a condition that squeezes a person's clutch, again while a lamp is dark."""
    looks = count()

    def lit() -> bool:
        person.hold(CLUTCH, down=next(looks) % (HELD + LET_GO) < HELD)
        return person.lamp(lamp)

    return lit
