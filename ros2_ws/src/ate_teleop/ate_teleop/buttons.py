"""What the buttons of a Joy-Con mean to an operator, and their edges."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from types import MappingProxyType

from ate_core.operator_buttons import (
    HELD_ACTIONS,
    RAIL_BUTTONS,
    THUMB_BUTTONS,
    operator_buttons,
)
from operator_devices.joycon_report import BUTTONS, JoyConState


class Event(Enum):
    """A wish of the operator that is carried out once."""

    START_OR_STOP = "start_or_stop"
    """Begin an episode, or end the present one, or keep the one that waits."""
    DISCARD = "discard"
    """Set the episode aside that is recorded or waits."""
    REDO = "redo"
    """Set the episode aside that is recorded or waits, if any, and begin anew."""
    FAIL = "fail"
    """Keep the episode that waits, as a failure."""
    SAVE_LAST = "save_last"
    """Make an episode of the last seconds."""
    HAND_BACK = "hand_back"
    """Let the policy go on from which an operator took over."""
    FREEZE = "freeze"
    """Hold arm and gripper of this operator, or end that."""
    SCALE_UP = "scale_up"
    """From the next engagement on the tool goes further per way of the hand."""
    SCALE_DOWN = "scale_down"
    """The reverse."""
    CALIBRATE = "calibrate"
    """Calibrate facing and hand by a gesture, or end that."""


OWN_EVENTS = frozenset({Event.FREEZE, Event.SCALE_UP, Event.SCALE_DOWN, Event.CALIBRATE})
"""What concerns nobody but the operator who wishes it; the others concern the episode of both."""


STOP_CLUSTERS = tuple(THUMB_BUTTONS.values())
"""The four buttons under the thumb, of the left and of the right Joy-Con."""
STOP_COUNT = 2
"""So many of them at once are an emergency stop: a slap of the thumb, but no press on purpose."""
RAIL_PAIRS = tuple(RAIL_BUTTONS.values())
"""The two buttons on the rail of either Joy-Con: together they ask for a calibration."""
SLAP_TIME = 0.1
"""How long a button that may be the first of several at once waits before it means itself [s]."""
_EVENTS = {"record": Event.START_OR_STOP} | {
    event.value: event for event in Event if event is not Event.START_OR_STOP
}


@dataclass(frozen=True, kw_only=True)
class ButtonMap:
    """What each button of an operator's Joy-Con means."""

    clutch: frozenset[str]
    """Held, the arm follows."""
    gripper: frozenset[str]
    """Trigger of the gripper."""
    home: frozenset[str]
    """Held, the arm goes to its resting posture."""
    events: Mapping[str, Event]
    """Buttons that act on their edge."""


def button_map(side: str, changes: Mapping[str, str] | None = None) -> ButtonMap:
    """The buttons of a Joy-Con of a side, with what the cell changes about them.

    The defaults of the other side are in it too: a Joy-Con has but its own half of the buttons,
    and a pair in one grip has both.
    """
    held: dict[str, set[str]] = {name: set() for name in HELD_ACTIONS}
    events: dict[str, Event] = {}
    other = "right" if side == "left" else "left"
    for by_action in (operator_buttons(other, {}), operator_buttons(side, changes or {})):
        for action, button in by_action.items():
            if action in held:
                held[action].add(button)
            else:
                events[button] = _EVENTS[action]
    return ButtonMap(
        **{name: frozenset(chosen) for name, chosen in held.items()},
        events=MappingProxyType(events),
    )


@dataclass(frozen=True, kw_only=True)
class ButtonNews:
    """What the buttons did since the tick before, by their names, in whatever report."""

    down: frozenset[str] | None
    """Held now; None while the controller is silent."""
    held: frozenset[str]
    """Held now on purpose: seen up before they went down, with no silence in between."""
    pressed: frozenset[str]
    """Went down, whether they still are or not."""
    let_go: frozenset[str]
    """Were held on purpose at the tick before, and came up, whether they are down again or not."""
    passed: tuple[frozenset[str], ...]
    """What was held at once, oldest first, before what is held now."""

    @property
    def stop(self) -> bool:
        """Whether the emergency stop was asked for."""
        return any(asks_stop(held) for held in (*self.passed, self.down or frozenset()))


def _names(flags: tuple[int, ...]) -> frozenset[str]:
    return frozenset(name for name, down in zip(BUTTONS, flags, strict=True) if down)


def asks_stop(held: Set[str]) -> bool:
    """Whether the buttons held ask for the emergency stop of the cell."""
    return any(len(cluster & held) >= STOP_COUNT for cluster in STOP_CLUSTERS)


class EventButtons:
    """Turns presses into wishes; a press that becomes part of a slap or a pair is none itself."""

    def __init__(self, events: Mapping[str, Event]) -> None:
        """Begin; `events` are the buttons that act on their edge."""
        self._events = events
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
        thumb, rail = frozenset().union(*STOP_CLUSTERS), frozenset().union(*RAIL_PAIRS)
        alone = {one for one, since in self._waiting.items() if now - since >= SLAP_TIME}
        alone |= pressed & rail & set(self._waiting)  # pressed again: it was alone before
        for button in alone:
            del self._waiting[button]
        events = [
            event
            for button, event in self._events.items()
            if button in alone or button in pressed - thumb - rail
        ]
        self._waiting.update((button, now) for button in pressed & (thumb | rail))
        for pair in RAIL_PAIRS:
            if pair <= set(self._waiting):
                events.append(Event.CALIBRATE)
                self._waiting = {one: t for one, t in self._waiting.items() if one not in pair}
        return tuple(events)


class ButtonEdges:
    """Tells new presses from buttons that were already down when the controller came (back).

    It looks at every report, also at those that came and went between two ticks.
    """

    def __init__(self) -> None:
        self._held: frozenset[str] | None = None
        self._ready: frozenset[str] = frozenset()
        self._heard_ns = 0

    def step(self, joy: JoyConState | None) -> ButtonNews:
        """Take the newest state of the controller; None: it has told nothing yet."""
        passed: tuple[frozenset[str], ...] = ()
        down = None
        if joy is not None:
            unseen = takewhile(lambda one: one[0] > self._heard_ns, reversed(joy.changes))
            passed = tuple(_names(flags) for _, flags in unseen)[::-1]
            down = _names(joy.buttons) if joy.live else None
            self._heard_ns = joy.received_ns
        before, pressed, let_go = self._ready, frozenset[str](), frozenset[str]()
        for held in (*passed, down):
            pressed |= self._take(held)
            let_go |= before - self._ready
        return ButtonNews(
            down=down, held=self._ready, pressed=pressed, let_go=let_go, passed=passed
        )

    def _take(self, held: frozenset[str] | None) -> frozenset[str]:
        """What goes down where these are held; None: the controller is silent."""
        if held is None:
            self._held, self._ready = None, frozenset()
            return frozenset()
        pressed = frozenset[str]() if self._held is None else held - self._held
        self._ready = (self._ready | pressed) & held
        self._held = held
        return pressed
