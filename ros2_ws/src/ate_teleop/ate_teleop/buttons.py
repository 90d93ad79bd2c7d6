"""What the buttons of a Joy-Con mean to an operator, and their edges."""

from collections.abc import Mapping, Set
from enum import Enum
from types import MappingProxyType

from operator_devices.joycon_report import BUTTONS, JoyConState


class Event(Enum):
    """A wish of the operator that is carried out once."""

    START_OR_STOP = "start_or_stop"
    """Begin an episode, or end the present one, or keep the one that waits."""
    DISCARD = "discard"
    """Set the episode aside that is recorded or waits."""
    REDO = "redo"
    """Set the episode aside that is recorded or waits, if any, and begin anew."""


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
SLAP_TIME = 0.1
"""How long a thumb button alone waits for the second one of a slap before it means itself [s]."""
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


class EventButtons:
    """Turns presses into wishes; a press that becomes part of a slap is none."""

    def __init__(self) -> None:
        self._waiting: dict[str, float] = {}

    def step(self, pressed: Set[str], lost: bool, stop: bool, now: float) -> tuple[Event, ...]:
        """Take one tick.

        Args:
            pressed: buttons that went down in this tick.
            lost: whether buttons went unseen since the last tick: nothing waits any longer.
            stop: whether a stop is asked for or in force: nothing is wished.
            now: monotonic time [s].
        """
        if lost or stop:
            self._waiting.clear()
        if stop:
            return ()
        presses = [button for button in EVENTS if button in pressed]
        thumb = frozenset().union(*STOP_CLUSTERS)
        events = [EVENTS[button] for button in presses if button not in thumb]
        for button, since in tuple(self._waiting.items()):
            if now - since >= SLAP_TIME:
                del self._waiting[button]
                events.append(EVENTS[button])
        self._waiting.update((button, now) for button in presses if button in thumb)
        return tuple(events)


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
