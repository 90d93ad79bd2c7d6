"""One demonstration as people do it: home, look, record, engage, perform, judge, keep."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Protocol, TypeVar

from ate_core.contract import Side
from ate_core.errors import UsageError
from ate_core.hand_mapping import HandMapping
from ate_sim.people.clearing import Clearing
from ate_sim.people.mistakes import EpisodeSpoiled, MistakesConfig, draw_slips
from ate_sim.people.performance import (
    CLUTCH_LAMP,
    Performance,
    PerformanceConfig,
    PlannedMotion,
)
from ate_sim.people.person import CLUTCH, GRIPPER, HOME, REST_POSE, Person, squeezing
from ate_sim.people.script import EpisodeFailed, Script, pause, wait_for
from ate_sim.people.view import WorldView

LOG = logging.getLogger(__name__)
T = TypeVar("T")

RECORDING_LAMP = 1
PENDING_LAMP = 3
TROUBLE_LAMP = 4
LAMPS = {RECORDING_LAMP: "recording", PENDING_LAMP: "pending"}
"""Lamps that tell of an episode."""
KEEP: tuple[Side, str] = ("right", "record")
DISCARD: tuple[Side, str] = ("left", "discard")
"""Arm whose person does it, where the cell has a button for it, and the action."""


@dataclass(frozen=True, kw_only=True)
class DemonstratorConfig:
    """Deadlines and habits of the scripted people."""

    ready_timeout: float = 60.0
    """For the teleoperation to follow hands at all, after its start [s]."""
    home_timeout: float = 10.0
    """For both arms to reach home [s]."""
    home_patience: float = 0.8
    """How long home is held over a resting arm before it is pressed anew; longer than an arm waits
    after its last command [s]."""
    home_release: float = 0.3
    """How long home is let go before it is pressed anew; longer than the arm's driver waits for
    a held button [s]."""
    rest_timeout: float = 3.0
    """For the objects to lie still [s]."""
    lamp_timeout: float = 3.0
    """For a lamp to follow its button [s]."""
    press: float = 0.06
    """How long a button is tapped [s]; a report comes every 15 ms."""
    thought: float = 0.4
    """How long people look at an episode before they keep it; the record button does nothing for
    0.3 s after a change [s]."""
    taps: int = 4
    """How often people tap before they give up on the recorder: a camera may have to come back."""
    judge_timeout: float = 1.0
    """How long the result may take to show after the motion [s]."""
    redos: int = 4
    """How often people do an episode again that they have spoiled themselves."""
    mistakes: MistakesConfig = field(default_factory=MistakesConfig)
    """How often they do."""
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)
    """How they move."""


class Director(Protocol):
    """What an episode needs beside hands and buttons."""

    def reset(self, seed: int) -> int:
        """Place the objects anew; returns the epoch of the world in which they stand."""

    def plan(self, seed: int) -> PlannedMotion:
        """Think the motion through from what the people see now."""


@dataclass(kw_only=True)
class EpisodeOutcome:
    """One line of the report."""

    seed: int
    success: bool = False
    kept: bool = False
    score: float = 0.0
    reason: str = ""
    regrips: int = 0
    """How often a clutch let go on its own and was squeezed again."""
    resets: int = 0
    """How many arms people found following nobody, cleared and enabled, before it went on."""
    mistakes: list[str] = field(default_factory=list)
    """What people did wrong in this attempt."""
    spoiled: list[str] = field(default_factory=list)
    """Why earlier attempts of this episode were discarded by those who made them."""
    durations: dict[str, float] = field(default_factory=dict)
    """Time of every phase [s]."""

    def line(self) -> dict[str, object]:
        """Plain values for the report file."""
        total = sum(self.durations.values())
        rounded = {name: round(value, 3) for name, value in self.durations.items()}
        return {**asdict(self), "durations": rounded, "total_s": round(total, 3)}


class Demonstrator:
    """The scripted people, their view of the world, and what they do for one demonstration."""

    def __init__(
        self,
        config: DemonstratorConfig,
        people: Mapping[Side, Person],
        mappings: Mapping[Side, HandMapping],
        view: WorldView,
        director: Director,
        clearing: Clearing | None = None,
    ) -> None:
        self._config = config
        self._people = people
        self._mappings = mappings
        self._view = view
        self._director = director
        self._clearing = clearing
        self._keep, self._throw_away = (
            whoever_can(people, side, action) for side, action in (KEEP, DISCARD)
        )

    def wait_until_ready(self) -> Script[None]:
        """Squeeze the clutches until both lamps answer: headsets, Joy-Cons and arms are there.

        Raises:
            EpisodeFailed: They were not within `ready_timeout`.
        """
        for side, person in self._people.items():
            yield from wait_for(
                f"clutch lamp of the {side} operator; is the teleoperation running",
                squeezing(person, CLUTCH_LAMP),
                self._config.ready_timeout,
            )
            person.release_all()
        yield from wait_for(
            "clutch lamps off",
            lambda: not any(person.lamp(CLUTCH_LAMP) for person in self._people.values()),
            self._config.lamp_timeout,
        )

    def run(self, seed: int) -> Script[EpisodeOutcome]:
        """Do one episode, again where people spoil it; never ends with an exception."""
        spoiled: list[str] = []
        resets = 0
        while True:
            result = EpisodeOutcome(seed=seed, spoiled=spoiled, resets=resets)
            try:
                yield from self._attempt(result, attempt=len(spoiled))
            except EpisodeFailed as failure:
                result.success, result.reason = False, str(failure)
                LOG.warning("seed %d: %s", seed, failure)
                yield from self._give_up()
                if isinstance(failure, EpisodeSpoiled) and len(spoiled) < self._config.redos:
                    spoiled.append(str(failure))
                    resets = result.resets
                    continue
            return result

    def _attempt(self, result: EpisodeOutcome, attempt: int) -> Script[None]:
        """Go home, look, record, perform, judge, and keep or discard.

        What another attempt has left is cleared first, and counts for the time of none.
        """
        yield from self._clear(result)
        slips = draw_slips(self._config.mistakes, result.seed, attempt)
        yield from self._timed(result, "home", self._go_home())
        plan = yield from self._timed(result, "look", self._look(result.seed))
        yield from self._timed(result, "start", self._start())
        performance = Performance(
            self._config.performance, self._people, self._mappings, self._view, plan, slips
        )
        result.mistakes = performance.slipped
        yield from self._timed(result, "engage", performance.engage())
        yield from self._timed(result, "motion", performance.play())
        result.regrips = performance.regrips
        yield from self._timed(result, "judge", self._judge(result))
        self._let_go()
        if result.success:
            yield from self._timed(result, "stop", self._stop_and_keep())
            result.kept = True
        else:
            yield from self._timed(result, "stop", self._discard())

    def _clear(self, result: EpisodeOutcome) -> Script[None]:
        """Where the trouble lamp is lit, clear and enable the arms that wait for it."""

        def in_trouble() -> bool:
            return any(person.lamp(TROUBLE_LAMP) for person in self._people.values())

        if self._clearing is None or not in_trouble():
            return
        result.resets += yield from self._clearing.clear()
        yield from wait_for(
            "trouble lamp off; arm/status tells why an arm follows nobody",
            lambda: not in_trouble(),
            self._config.home_timeout,
        )

    def _timed(self, result: EpisodeOutcome, phase: str, script: Script[T]) -> Script[T]:
        started = yield
        value = yield from script
        result.durations[phase] = (yield) - started
        return value

    def _go_home(self) -> Script[None]:
        """Hold home until both arms are there; pressed anew where one stands still elsewhere.

        Hands return to where they rest meanwhile.
        """
        self._let_go()
        for person in self._people.values():
            person.hold(HOME)
        yield from pause(self._config.press)
        started = still_since = now = yield
        presses, last = 1, started
        while away := [side for side in self._people if not self._view.at_home(side)]:
            for side, person in self._people.items():
                person.hold(HOME, down=side in away)
                person.reach(REST_POSE, now - last)
            last = now
            if now - started > self._config.home_timeout:
                timeout = self._config.home_timeout
                raise EpisodeFailed(
                    f"{away[0]} arm at home: not within {timeout:g} s, though home was pressed "
                    f"{presses} times: its arm/status tells why"
                )
            if any(self._view.moving(side) for side in away):
                still_since = now
            if now - still_since > self._config.home_patience:
                self._let_go()
                yield from pause(self._config.home_release)
                still_since = yield
                presses += 1
            now = yield
        self._let_go()

    def _look(self, seed: int) -> Script[PlannedMotion]:
        epoch = self._director.reset(seed)
        timeout = self._config.rest_timeout
        yield from wait_for("the new scene", lambda: self._view.epoch == epoch, timeout)
        yield from wait_for("objects at rest", self._view.objects_rest, timeout)
        return self._director.plan(seed)

    def _judge(self, result: EpisodeOutcome) -> Script[None]:
        try:
            yield from wait_for(
                "task done", lambda: self._view.outcome["success"] > 0, self._config.judge_timeout
            )
        except EpisodeFailed:
            result.reason = "task not done"
        result.success = self._view.outcome["success"] > 0
        result.score = self._view.outcome["score"]

    def _tap(self, person: Person, action: str) -> Script[None]:
        person.hold(action)
        yield from pause(self._config.press)
        person.hold(action, down=False)

    def _start(self) -> Script[None]:
        """Begin to record; what somebody left to be judged is not theirs, and goes."""
        if any(person.lamp(PENDING_LAMP) for person in self._people.values()):
            yield from self._tap_until_lamp(self._throw_away, PENDING_LAMP, lit=False)
            yield from pause(self._config.thought)
        yield from self._tap_until_lamp(self._keep, RECORDING_LAMP, lit=True)

    def _stop_and_keep(self) -> Script[None]:
        """End the episode, and say that it was good once the recorder has it.

        One that has ended before is not the whole of what was done.
        """
        yield from wait_for(
            "recording lamp still on",
            lambda: any(person.lamp(RECORDING_LAMP) for person in self._people.values()),
            self._config.lamp_timeout,
        )
        yield from self._tap_until_lamp(self._keep, RECORDING_LAMP, lit=False)
        yield from wait_for(
            "pending lamp on (the recorder may have refused the episode: see its log)",
            lambda: self._people[self._keep[0]].lamp(PENDING_LAMP),
            self._config.lamp_timeout,
        )
        yield from pause(self._config.thought)
        yield from self._tap_until_lamp(self._keep, PENDING_LAMP, lit=False)

    def _discard(self) -> Script[None]:
        yield from self._tap_until_lamp(self._throw_away, RECORDING_LAMP, lit=False)
        yield from self._tap_until_lamp(self._throw_away, PENDING_LAMP, lit=False)

    def _tap_until_lamp(self, who: tuple[Side, str], lamp: int, lit: bool) -> Script[None]:
        """Tap until a lamp of that person is as wanted; not at all where it is already."""
        side, action = who
        if self._people[side].lamp(lamp) == lit:
            return
        for _ in range(self._config.taps):
            yield from self._tap(self._people[side], action)
            try:
                yield from wait_for(
                    f"{LAMPS[lamp]} lamp {'on' if lit else 'off'}",
                    lambda: self._people[side].lamp(lamp) == lit,
                    self._config.lamp_timeout,
                )
                return
            except EpisodeFailed as failure:
                missed = failure
        raise missed

    def _let_go(self) -> None:
        for person in self._people.values():
            person.release_all()

    def _give_up(self) -> Script[None]:
        self._let_go()
        if any(person.lamp(lamp) for person in self._people.values() for lamp in LAMPS):
            try:
                yield from self._discard()
            except EpisodeFailed as failure:
                LOG.warning("discarding: %s", failure)


def whoever_can(people: Mapping[Side, Person], side: Side, action: str) -> tuple[Side, str]:
    """The arm of who does an action of both, at best that of `side`, and the action.

    Raises:
        UsageError: the cell has no button for it.
    """
    for one in (side, *people):
        if people[one].can(action):
            return one, action
    raise UsageError(
        f"no button for {action!r}, which the scripted people need: give it one in "
        f"operators.{side}.buttons of the cell"
    )


def require_buttons(people: Mapping[Side, Person]) -> None:
    """Refuse a cell without the buttons that the scripted people need.

    Raises:
        UsageError: it has not got them.
    """
    for side, person in people.items():
        for action in (CLUTCH, GRIPPER, HOME):
            whoever_can({side: person}, side, action)
    for side, action in (KEEP, DISCARD):
        whoever_can(people, side, action)
