"""What people do wrong while they demonstrate, and how they mend it. Seeded, and off by default.

A slip either costs time and is mended (a pause, a hand out of sight, a Joy-Con that sleeps, a
button that changes nothing or is pressed back), or it spoils the episode: an object let go, a
button that ended the recording. Who spoils an episode notices, discards it and does it again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ate_core.contract import Side
from ate_core.errors import UsageError
from ate_sim.people.person import GRIPPER, Person
from ate_sim.people.script import EpisodeFailed, Script, pause

REACTION = (0.3, 0.8)
"""Time within which people notice what they have done [s]."""
TAP = 0.12
"""How long a wrong button is pressed [s]; a thumb button counts from 0.1 s on."""
RECONNECT = 1.6
"""Time that a Joy-Con needs from its waking up until it reports and its lamps are lit [s]."""

HARMLESS = "fail"
"""Keeps a waiting episode as a failure; while one is recorded, nothing."""
SPOILING: tuple[tuple[Side, str, str], ...] = (
    ("right", "record", "ended the recording too early"),
    ("left", "discard", "discarded it while it was recorded"),
    ("right", "redo", "began the recording anew on the way"),
)
"""Side, action, and what that does."""
SCALES = ("scale_up", "scale_down")
"""Larger and smaller scale: the one takes the other back."""


class EpisodeSpoiled(EpisodeFailed):
    """Somebody did something wrong, and knows it."""


People = Mapping[Side, Person]


@dataclass(frozen=True, kw_only=True)
class Slip:
    """Something that goes wrong once."""

    name: str
    """Its kind, for the report."""
    share: float
    """Part of the motion after which it happens, 0 .. 1."""
    act: Callable[[People], Script[None]]
    """What is done; it may raise `EpisodeSpoiled`."""
    is_due: Callable[[People], bool] = lambda people: True
    """Whether it can happen now; else it waits."""


@dataclass(frozen=True, kw_only=True)
class MistakesConfig:
    """How often people do something wrong."""

    share: float = 0.0
    """Probability of each kind of slip in each attempt, 0 .. 1."""
    seed: int = 0
    """Of the slips; together with the episode's own."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise UsageError(f"mistakes is {self.share}; need a share from 0 to 1")


def draw_slips(config: MistakesConfig, seed: int, attempt: int) -> tuple[Slip, ...]:
    """The slips of one attempt at the episode of a seed, in the order of their time."""
    random = np.random.default_rng([config.seed, seed, attempt])
    drawn = []
    for make in (_pause, _out_of_sight, _sleep, _harmless, _scale, _freeze, _drop, _spoil):
        is_wanted, share = random.random() < config.share, float(random.uniform(0.1, 0.9))
        slip = make(share, random)
        if is_wanted:
            drawn.append(slip)
    return tuple(sorted(drawn, key=lambda slip: slip.share))


def _pause(share: float, random: np.random.Generator) -> Slip:
    seconds = float(random.uniform(0.5, 2.0))
    return Slip(name="pause", share=share, act=lambda people: pause(seconds))


def _out_of_sight(share: float, random: np.random.Generator) -> Slip:
    seconds = float(random.uniform(0.3, 1.0))

    def act(people: People) -> Script[None]:
        for person in people.values():
            person.show_hand(False)
        yield from pause(seconds)
        for person in people.values():
            person.show_hand(True)
        yield from pause(REACTION[0])

    return Slip(name="hand out of sight", share=share, act=act)


def _sleep(share: float, random: np.random.Generator) -> Slip:
    seconds, index = float(random.uniform(0.5, 2.0)), int(random.integers(2))

    def act(people: People) -> Script[None]:
        person = list(people.values())[index % len(people)]
        person.sleep()
        yield from pause(seconds)
        person.wake()
        yield from pause(RECONNECT)

    return Slip(name="Joy-Con asleep", share=share, act=act)


def _harmless(share: float, random: np.random.Generator) -> Slip:
    def act(people: People) -> Script[None]:
        for person in people.values():
            yield from tap(person, HARMLESS)

    return Slip(name="wrong button", share=share, act=act)


def _scale(share: float, random: np.random.Generator) -> Slip:
    reaction = float(random.uniform(*REACTION))

    def act(people: People) -> Script[None]:
        for person in people.values():
            if all(person.can(action) for action in SCALES):
                yield from tap(person, SCALES[0])
                yield from pause(reaction)
                yield from tap(person, SCALES[1])

    return Slip(name="wrong scale", share=share, act=act)


def _freeze(share: float, random: np.random.Generator) -> Slip:
    reaction = float(random.uniform(*REACTION))

    def act(people: People) -> Script[None]:
        for person in people.values():
            for _ in range(2):
                yield from tap(person, "freeze")
                yield from pause(reaction)

    return Slip(name="frozen", share=share, act=act)


def _drop(share: float, random: np.random.Generator) -> Slip:
    reaction = float(random.uniform(*REACTION))

    def is_held(people: People) -> bool:
        return any(person.holds(GRIPPER) for person in people.values())

    def act(people: People) -> Script[None]:
        for person in people.values():
            person.hold(GRIPPER, down=False)
        yield from pause(reaction)
        raise EpisodeSpoiled("let go what was held")

    return Slip(name="dropped", share=share, act=act, is_due=is_held)


def _spoil(share: float, random: np.random.Generator) -> Slip:
    reaction = float(random.uniform(*REACTION))
    where, action, told = SPOILING[int(random.integers(len(SPOILING)))]

    def act(people: People) -> Script[None]:
        yield from tap(people[where], action)
        yield from pause(reaction)
        raise EpisodeSpoiled(told)

    def is_due(people: People) -> bool:
        return where in people and people[where].can(action)

    return Slip(name=f"pressed {action}", share=share, act=act, is_due=is_due)


def tap(person: Person, action: str) -> Script[None]:
    """Press the button of an action for a moment."""
    person.hold(action)
    yield from pause(TAP)
    person.hold(action, down=False)
