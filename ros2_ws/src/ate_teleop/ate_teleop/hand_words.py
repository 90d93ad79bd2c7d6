"""What an operator feels in the hand: the vocabulary of the rumble, the same for everybody."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from ate_teleop.clutch import ClutchState
from operator_devices.rumble import SILENT, Buzz, Pattern

EDGE_FULL = 0.12
"""Distance beyond the edge of reach at which the rumble is strongest [m]."""
EDGE_EVERY, NEAR_EVERY = 0.25, 0.6
"""Repetition while the tool is at its edge, or something near [s]."""
FORCE_FLOOR = 0.2
"""Share of the full force from which it is felt: below lie noise and the weight of an object."""
FORCE_WEAKEST, FORCE_STRONGEST = 0.15, 0.6
"""Amplitudes of the rumble at the floor and from the full force on."""
FORCE_EVERY, FORCE_LASTS = 0.1, 0.15
"""A force is felt anew this often, and each time for so long: without a gap [s]."""


class Word(Enum):
    """What can be said; a word that comes later here gives way to those before it."""

    LOST = "lost"
    """The clutch has let go by itself."""
    OTHER_STOPPED = "other stopped"
    """The arm of the other operator stopped or is faulty."""
    ERROR = "error"
    """What was asked for was refused, the clutch was pressed and cannot engage, or the own arm
    stopped while it was led by nobody."""
    DISCARDED = "discarded"
    KEPT = "kept"
    """An episode was kept, or a stroke of a calibration taken."""
    ENGAGED = "engaged"
    EDGE = "edge"
    """The target is beyond the arm's reach; stronger, the further it is."""
    NEAR = "near"
    """The guard slows the arm or has something near it."""
    FORCE = "force"
    """The tool touches something; stronger, the harder it presses."""


_PAUSE = (SILENT, 0.08)
_LOW, _FORCE, _MIDDLE, _HIGH = 100.0, 150.0, 200.0, 400.0  # Hz
PATTERNS: Mapping[Word, Pattern] = MappingProxyType(
    {
        Word.LOST: ((Buzz(amplitude=0.9, frequency=_LOW), 0.35),),
        Word.OTHER_STOPPED: (
            (Buzz(amplitude=0.7, frequency=_LOW), 0.12), _PAUSE,
            (Buzz(amplitude=0.7, frequency=_LOW), 0.12), _PAUSE,
            (Buzz(amplitude=0.7, frequency=_LOW), 0.12),
        ),
        Word.ERROR: (
            (Buzz(amplitude=0.6, frequency=_LOW), 0.1), _PAUSE,
            (Buzz(amplitude=0.6, frequency=_LOW), 0.25),
        ),
        Word.DISCARDED: (
            (Buzz(amplitude=0.5, frequency=_HIGH), 0.1),
            (Buzz(amplitude=0.5, frequency=_LOW), 0.15),
        ),
        Word.KEPT: (
            (Buzz(amplitude=0.5, frequency=_MIDDLE), 0.1),
            (Buzz(amplitude=0.5, frequency=_HIGH), 0.15),
        ),
        Word.ENGAGED: ((Buzz(amplitude=0.4, frequency=_HIGH), 0.06),),
        Word.NEAR: (
            (Buzz(amplitude=0.3, frequency=_MIDDLE), 0.05), _PAUSE,
            (Buzz(amplitude=0.3, frequency=_MIDDLE), 0.05),
        ),
    }
)  # fmt: skip
"""Each word; the edge of reach and a force have a strength of their own."""


def edge_pattern(beyond: float) -> Pattern:
    """The rumble of a target that is so far beyond what the arm reaches [m]."""
    strength = 0.2 + 0.8 * min(max(beyond / EDGE_FULL, 0.0), 1.0)
    return ((Buzz(amplitude=strength, frequency=_MIDDLE), 0.1),)


def force_pattern(share: float) -> Pattern:
    """The rumble of a force at the tool, as a share of the full one; none below the floor."""
    if not share >= FORCE_FLOOR:
        return ()
    way = (min(share, 1.0) - FORCE_FLOOR) / (1.0 - FORCE_FLOOR)
    amplitude = FORCE_WEAKEST + way * (FORCE_STRONGEST - FORCE_WEAKEST)
    return ((Buzz(amplitude=amplitude, frequency=_FORCE), FORCE_LASTS),)


@dataclass(frozen=True, kw_only=True)
class Senses:
    """What the words are made of, as it is now."""

    clutch: ClutchState
    """Where the clutch stands."""
    beyond: float = 0.0
    """Distance from the arm to a target out of its reach; 0 within [m]."""
    near: bool = False
    """Whether the guard slows this arm or has something near it."""
    force: float = 0.0
    """Force at the tool as a share of that which is felt most."""
    own_stopped: bool = False
    """Whether the own arm is stopped or faulty."""
    other_stopped: bool = False
    """Whether the other operator's arm is stopped or faulty."""
    kept: int = 0
    """Episodes kept and strokes of a calibration taken so far."""
    discarded: int = 0
    """Episodes set aside so far."""
    refused: int = 0
    """Wishes and calibrations of this operator that were refused so far."""
    calibrating: bool = False
    """Whether presses of the clutch are strokes of a calibration."""


class HandWords:
    """Turns changes into words; one at a time, the more important first."""

    def __init__(self) -> None:
        self._last: Senses | None = None
        self._until = float("-inf")
        self._next = self._next_force = float("-inf")

    def step(self, senses: Senses, now: float) -> Pattern:
        """Take what is sensed at `now` [s]; the pattern to play, or none."""
        last, self._last = self._last or senses, senses
        for word in Word:
            if self._is_news(word, last, senses):
                pattern = PATTERNS[word]
                self._until = now + sum(duration for _, duration in pattern)
                return pattern
        if senses.clutch is not ClutchState.ENGAGED or now < self._until:
            return ()
        return self._repeated(senses, now) or self._force(senses, now)

    def _repeated(self, senses: Senses, now: float) -> Pattern:
        """What is said again while it lasts; a force is felt in its pauses."""
        if now < self._next:
            return ()
        pattern: Pattern = ()
        if senses.beyond > 0.0:
            pattern, self._next = edge_pattern(senses.beyond), now + EDGE_EVERY
        elif senses.near:
            pattern, self._next = PATTERNS[Word.NEAR], now + NEAR_EVERY
        self._until = now + sum(duration for _, duration in pattern)
        return pattern

    def _force(self, senses: Senses, now: float) -> Pattern:
        if now < self._next_force:
            return ()
        if pattern := force_pattern(senses.force):
            self._next_force = now + FORCE_EVERY
        return pattern

    @staticmethod
    def _is_news(word: Word, last: Senses, now: Senses) -> bool:
        """Whether something has just happened that a word stands for."""
        engaged, blocked = ClutchState.ENGAGED, ClutchState.BLOCKED
        is_void = now.clutch is blocked and last.clutch not in (engaged, blocked)
        return {
            Word.LOST: last.clutch is engaged and now.clutch is blocked,
            Word.OTHER_STOPPED: now.other_stopped and not last.other_stopped,
            Word.ERROR: now.refused > last.refused
            or (is_void and not now.calibrating)
            or (now.own_stopped and not last.own_stopped and now.clutch is not engaged),
            Word.DISCARDED: now.discarded > last.discarded,
            Word.KEPT: now.kept > last.kept,
            Word.ENGAGED: now.clutch is engaged and last.clutch is not engaged,
        }.get(word, False)
