"""What the keys of a terminal mean to the hands of both people. No terminal and no clock in here.

A terminal tells when a key goes down, and again while it is held, but never when it comes up: a
motion lasts for a moment after each of these, and what must be held is switched.
"""

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from ate_core.contract import SIDES, Side
from ate_core.operator_buttons import DEFAULT_BUTTONS
from ate_sim.people.episode import DISCARD, KEEP, PENDING_LAMP, RECORDING_LAMP
from ate_sim.people.performance import CLUTCH_LAMP
from ate_sim.people.person import CLUTCH, GRIPPER, HOME, STOP

HELP = """\
arrows, or W A S D      forward, left, back, right        space  clutch: the arm follows, or not
page up/down, or Q E    up, down                          g      gripper: close, open
x y z, and X Y Z        turn about right, forward, up     h      way home: go, stop
+ -                     faster, slower                    tab    the other arm
r s k d                 record, stop, keep, discard       R      redo: discard and record
!                       emergency stop                    p      hand back to the policy
                                                          q      quit
W A S D Q E X Y Z with Shift; hold a key to go on."""
"""The keys, for people."""

SEQUENCES = {
    b"\x1b[A": "forward", b"\x1b[B": "back", b"\x1b[C": "right", b"\x1b[D": "left",
    b"\x1bOA": "forward", b"\x1bOB": "back", b"\x1bOC": "right", b"\x1bOD": "left",
    b"\x1b[5~": "up", b"\x1b[6~": "down",
    b"W": "forward", b"S": "back", b"D": "right", b"A": "left", b"Q": "up", b"E": "down",
}  # fmt: skip
"""Bytes of a key -> the stroke it means."""
_SEQUENCE = re.compile(rb"\x1b(\[[0-9;]*|O)?.?", re.DOTALL)
"""What any key beside the characters sends."""
_CUT = re.compile(rb"\x1b(\[[0-9;]*|O)?$")
STROKES = {
    "right": (1, 0, 0), "left": (-1, 0, 0), "forward": (0, 1, 0),
    "back": (0, -1, 0), "up": (0, 0, 1), "down": (0, 0, -1),
}  # fmt: skip
"""Direction in the headset's axes: right, forward, up."""
TURNS = {
    "x": (1, 0, 0), "X": (-1, 0, 0), "y": (0, 1, 0), "Y": (0, -1, 0), "z": (0, 0, 1),
    "Z": (0, 0, -1),
}  # fmt: skip
"""Axis of a turn in the same axes."""
HELD = {"g": GRIPPER, "h": HOME}
"""Keys of what is held and needs a button of the cell."""
REDO: tuple[Side, str] = ("right", "redo")
HAND_BACK: tuple[Side, str] = ("right", "hand_back")
QUIT = ("q", "\x03", "\x04")
"""Keys that end it: q, Ctrl-C, Ctrl-D."""


@dataclass(frozen=True, kw_only=True)
class KeysConfig:
    """How keys become motion."""

    speed: float = 0.12
    """Speed of a stroke at the start [m/s]."""
    turn: float = 0.6
    """Speed of a turn at the start [rad/s]."""
    linger: float = 0.15
    """How long a motion lasts after its key was seen; held keys come at 25 Hz and more [s]."""
    tap: float = 0.12
    """How long a button is tapped [s]."""
    slap: float = 0.3
    """How long the emergency stop is held [s]."""
    step: float = 1.25
    """Factor of one change of the speed, within a fifth and twice of it at the start."""


def split_keys(data: bytes) -> Iterator[str]:
    """Yield the keys in what a terminal sent: names of strokes, and characters.

    Keys that mean nothing send sequences too, whose letters must not count as keys.
    """
    while data:
        unknown = _SEQUENCE.match(data)
        sent = data[:1] if unknown is None else unknown[0]
        if sent in SEQUENCES:
            yield SEQUENCES[sent]
        elif unknown is None:
            yield sent.decode("latin-1")
        data = data[len(sent) :]


def is_cut(data: bytes) -> bool:
    """Whether the last key of what was read has not come whole."""
    return _CUT.search(data) is not None


@dataclass(kw_only=True)
class _Side:
    """What is switched on for one arm."""

    clutch: bool = False
    grip: bool = False
    home: bool = False


@dataclass
class KeyOperator:
    """Turns keys into what the hands are asked to do."""

    side: Side
    """Arm that the keys move."""
    config: KeysConfig = field(default_factory=KeysConfig)
    """How keys become motion."""
    actions: Mapping[Side, Set[str]] = field(
        default_factory=lambda: {side: {*DEFAULT_BUTTONS[side], STOP} for side in SIDES}
    )
    """What the cell of each arm has buttons for."""
    told: str = ""
    """What the last key did, for people."""

    def __post_init__(self) -> None:
        self._sides = {side: _Side() for side in SIDES}
        self._stroke: tuple[str, float] = ("", 0.0)
        self._turn: tuple[str, float] = ("", 0.0)
        self._taps: dict[tuple[Side, str], float] = {}
        self._lamps: dict[Side, list[int]] = {side: [] for side in SIDES}
        self._scale = 1.0

    def press(self, key: str, now: float) -> None:
        """Take one key of `split_keys` at a monotonic time [s]."""
        mine, self.told = self._sides[self.side], ""
        if key in STROKES or key in TURNS:
            self._move(key, now)
        elif key == " ":
            mine.clutch, mine.home = not mine.clutch, False
        elif key in HELD and HELD[key] not in self.actions[self.side]:
            self.told = f"the cell has no button for this on the {self.side} arm"
        elif key == "g":
            mine.grip = not mine.grip
        elif key == "h":
            mine.home, mine.clutch = not mine.home, False
        elif key == "\t":
            mine.clutch = mine.home = False
            self.side = "right" if self.side == "left" else "left"
        elif key in ("+", "-"):
            factor = self.config.step if key == "+" else 1.0 / self.config.step
            self._scale = min(max(self._scale * factor, 0.2), 2.0)
        elif key == "!":
            self._taps[("right", STOP)] = now + self.config.slap
            self.told = "emergency stop; `ate stop --reset` ends it"
        else:
            self._record(key, now)

    def hear(self, answer: Mapping[str, Any]) -> None:
        """Take what the people see; a release lets go what was switched on, but no object."""
        for side in SIDES:
            self._lamps[side] = list(answer[side]["lamps"])
        if answer["released"]:
            self.let_go()
            for side, mine in self._sides.items():
                mine.grip = GRIPPER in answer[side]["actions"]

    def let_go(self) -> None:
        """Open the clutches, end every motion; the grippers stay as they are."""
        self._sides = {side: _Side(grip=mine.grip) for side, mine in self._sides.items()}
        self._stroke = self._turn = ("", 0.0)
        self._taps.clear()

    def wish(self, now: float) -> dict[str, Any]:
        """What the hands are asked to do at a monotonic time [s], for `LedHands`."""
        self._taps = {tap: until for tap, until in self._taps.items() if until > now}
        return {side: self._wish(side, now) for side in SIDES}

    def line(self) -> str:
        """One line about the state, for people."""
        mine, lamps = self._sides[self.side], self._lamps[self.side]
        clutch = "engaged" if CLUTCH_LAMP in lamps else "closing" if mine.clutch else "open"
        session = "waits: k keeps, d discards" if self._is_lit(PENDING_LAMP) else "not recording"
        session = "RECORDING" if self._is_lit(RECORDING_LAMP) else session
        gripper = "closed" if mine.grip else "open"
        words = [f"{self.side} arm", f"clutch {clutch}", f"gripper {gripper}", session]
        words += ["going home"] if mine.home else []
        return " | ".join([*words, *([self.told] if self.told else [])])

    def _move(self, key: str, now: float) -> None:
        until = now + self.config.linger
        if key in STROKES:
            self._stroke = key, until
        else:
            self._turn = key, until
        if not self._sides[self.side].clutch:
            self.told = "press space first: the clutch is open"

    def _record(self, key: str, now: float) -> None:
        """Do something about the recording for a moment, where it means what the key says."""
        recording, pending = self._is_lit(RECORDING_LAMP), self._is_lit(PENDING_LAMP)
        meanings = {
            "r": (KEEP, not recording and not pending, "keep or discard the episode first"),
            "s": (KEEP, recording, "nothing is recorded"),
            "k": (KEEP, pending, "no episode waits to be kept"),
            "d": (DISCARD, recording or pending, "there is no episode to discard"),
            "R": (REDO, True, ""),
            "p": (HAND_BACK, True, ""),
        }
        if key not in meanings:
            self.told = f"no such key: {key!r}"
            return
        (first, action), fits, reason = meanings[key]
        able = [side for side in (first, *SIDES) if action in self.actions[side]]
        if fits and able:
            self._taps[able[0], action] = now + self.config.tap
        elif fits:
            reason = f"the cell has no button for {action}"
        self.told = "" if fits and able else reason

    def _is_lit(self, lamp: int) -> bool:
        return any(lamp in lamps for lamps in self._lamps.values())

    def _wish(self, side: Side, now: float) -> dict[str, Any]:
        mine = self._sides[side]
        held = {CLUTCH: mine.clutch, GRIPPER: mine.grip, HOME: mine.home}
        actions = {action for action, on in held.items() if on}
        actions |= {action for where, action in self._taps if where == side}
        stroke, turn = (
            key if side == self.side and now < until else ""
            for key, until in (self._stroke, self._turn)
        )
        speed, pace = self.config.speed * self._scale, self.config.turn * self._scale
        return {
            "linear": [speed * axis for axis in STROKES.get(stroke, (0, 0, 0))],
            "angular": [pace * axis for axis in TURNS.get(turn, (0, 0, 0))],
            "actions": sorted(actions),
        }
