"""What the buttons of a Joy-Con mean to an operator, and their edges."""

from collections.abc import Mapping, Set
from enum import Enum
from types import MappingProxyType

from operator_devices.joycon_report import BUTTONS, JoyConState


class Event(Enum):
    """A wish of the operator that is carried out once."""

    START_OR_STOP = "start_or_stop"
    """Begin an episode, or end and keep the present one."""
    DISCARD = "discard"
    """End the present episode and throw it away."""
    REDO = "redo"
    """Throw the last episode away and begin it anew."""


CLUTCH = frozenset({"l", "r"})
"""Shoulder buttons: held, the arm follows."""
GRIP = frozenset({"zl", "zr"})
"""Triggers: held, the gripper closes."""
HOME = frozenset({"home", "capture"})
"""Held, the arm goes to its resting posture."""
STOP_CLUSTERS = (frozenset({"a", "b", "x", "y"}), frozenset({"up", "down", "left", "right"}))
"""The four buttons under the thumb, of the right and of the left Joy-Con."""
STOP_COUNT = 2
"""So many of them at once are an emergency stop: a slap of the thumb, but no press on purpose."""
EVENTS: Mapping[str, Event] = MappingProxyType(
    {
        "plus": Event.START_OR_STOP,
        "minus": Event.DISCARD,
        "a": Event.DISCARD,
        "y": Event.REDO,
    }
)
"""Buttons that act on their edge. A Joy-Con has only half of them."""


def held_buttons(joy: JoyConState | None) -> frozenset[str] | None:
    """Names of the buttons held, or None while the controller is silent."""
    if joy is None or not joy.live:
        return None
    return frozenset(name for name, down in zip(BUTTONS, joy.buttons, strict=True) if down)


def asks_stop(held: Set[str]) -> bool:
    """Whether the buttons held ask for the emergency stop of the cell."""
    return any(len(cluster & held) >= STOP_COUNT for cluster in STOP_CLUSTERS)


class ButtonEdges:
    """Tells new presses from buttons that were already down when the controller came (back)."""

    def __init__(self) -> None:
        self._held: frozenset[str] | None = None
        self._ready: frozenset[str] = frozenset()

    def step(self, held: Set[str] | None) -> tuple[frozenset[str], frozenset[str]]:
        """Take the names of the buttons held, or None while the controller is silent.

        Returns:
            The buttons pressed since the last call, and those held on purpose: seen up
            before they went down, without a silence of the controller in between.
        """
        if held is None:
            self._held, self._ready = None, frozenset()
            return frozenset(), frozenset()
        now = frozenset(held)
        if self._held is None:
            self._held = now
        pressed = now - self._held
        self._ready = (self._ready | pressed) & now
        self._held = now
        return pressed, self._ready
