"""Headsets, Joy-Cons and the people who use them: `python -m ate_sim.people.operators`."""

import json
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import tyro

from ate_core.contract import SIDES, Cell, Side, load_cell
from ate_core.control_socket import ControlServer
from ate_core.errors import UsageError
from ate_core.hand_mapping import operator_mapping
from ate_core.hands_socket import HANDS_SOCKET
from ate_core.loop import FixedRateLoop
from ate_core.priority import CONTROL
from ate_sim.people.clearing import TerminalClearing
from ate_sim.people.director import SimDirector
from ate_sim.people.episode import (
    Demonstrator,
    DemonstratorConfig,
    EpisodeOutcome,
    require_buttons,
)
from ate_sim.people.led_hands import LedHands, LedHandsConfig
from ate_sim.people.mistakes import MistakesConfig
from ate_sim.people.performance import FINGERS_OPEN
from ate_sim.people.person import Person
from ate_sim.people.script import Script, wait_for
from ate_sim.people.tremor import Tremor, TremorConfig
from ate_sim.people.view import WorldView
from ate_sim.realtime.control import SimControl
from ate_sim.realtime.process import claim, run_process
from operator_devices.joycon_emulator import JoyConEmulator
from operator_devices.vision_pro_emulator import HeadsetEmulator

LOG = logging.getLogger(__name__)

RATE = 90.0
"""Rate at which hands move and people think: that of the headset [Hz]."""


@dataclass(frozen=True, kw_only=True)
class OperatorsConfig:
    """Run the emulated headsets and Joy-Cons, and the people who demonstrate with them."""

    cell: Path | None = None
    """cell.yaml; the packaged one by default."""
    task: str = "pick_place"
    """Task to demonstrate."""
    episodes: int = 0
    """Episodes to demonstrate; 0: hands that keys or the page lead, until stopped."""
    first_seed: int = 0
    """Seed of the first episode; the next ones count up."""
    difficulty: str = "normal"
    """Spread of the object placement."""
    report: Path | None = None
    """File that gets one JSON line per episode."""
    tremor: bool = True
    """Whether hands tremble like human ones."""
    unrest: float = 1.0
    """How much more they tremble than those of a practised person."""
    mistakes: float = 0.0
    """Probability of each kind of mistake in each attempt, 0 to 1."""
    mistakes_seed: int = 0
    """Seed of the mistakes."""
    start_timeout: float = 60.0
    """Longest wait for world and arms before the first episode [s]."""

    def __post_init__(self) -> None:
        if self.episodes < 0:
            raise UsageError(f"episodes is {self.episodes}; need 0 or more")
        if not 0.0 <= self.unrest <= 10.0:
            raise UsageError(f"unrest is {self.unrest}; need 0 to 10")
        MistakesConfig(share=self.mistakes)


def run_operators(config: OperatorsConfig, stop: threading.Event) -> int:
    """Run until the episodes are done or `stop` is set; returns the exit code."""
    cell = load_cell(config.cell, "sim")
    with ExitStack() as stack:
        stack.enter_context(claim(Path(cell.runtime_dir), "operators"))
        view = WorldView(cell)
        stack.callback(view.close)
        people = {side: _person(cell, side, config, view, stack) for side in SIDES}
        if config.episodes:
            require_buttons(people)
        LOG.info("headsets and Joy-Cons are up")
        if not config.episodes:
            return _lead(cell, people, view, stop)
        return _live(people, view, _demonstrate(config, cell, people, view, stack), stop)


def _lead(
    cell: Cell, people: Mapping[Side, Person], view: WorldView, stop: threading.Event
) -> int:
    """Let whoever asks lead the hands, until `stop` is set."""
    hands = LedHands(people, LedHandsConfig())
    with ControlServer(cell.runtime_path(HANDS_SOCKET), hands.handle) as server:
        LOG.info("hands rest: `ate teleop-keys` or the page leads them")
        last = time.monotonic()
        for _ in FixedRateLoop(RATE, stop):
            now = time.monotonic()
            view.update(now)
            hands.tick(now, now - last)
            for person in people.values():
                person.tick(now - last)
            server.wait(0.0)
            last = now
    for person in people.values():
        person.release_all()
    return 0


def _live(
    people: Mapping[Side, Person],
    view: WorldView,
    script: Script[int],
    stop: threading.Event,
) -> int:
    """Tick hands and script at `RATE` until the script ends or `stop` is set."""
    next(script)
    last = time.monotonic()
    for _ in FixedRateLoop(RATE, stop):
        now = time.monotonic()
        view.update(now)
        try:
            script.send(now)
        except StopIteration as end:
            return int(end.value)
        for person in people.values():
            person.tick(now - last)
        last = now
    for person in people.values():
        person.release_all()
    return 1


def _demonstrate(
    config: OperatorsConfig,
    cell: Cell,
    people: Mapping[Side, Person],
    view: WorldView,
    stack: ExitStack,
) -> Script[int]:
    control = stack.enter_context(SimControl(cell.runtime_dir))
    yield from wait_for("the world", lambda: view.seen, config.start_timeout)
    mappings = {side: operator_mapping(cell.operators[side], cell.arms[side]) for side in SIDES}
    director = SimDirector(config.task, config.difficulty, cell, control, view)
    mistakes = MistakesConfig(share=config.mistakes, seed=config.mistakes_seed)
    habits = DemonstratorConfig(mistakes=mistakes)
    clearing = TerminalClearing(config.cell)
    demonstrator = Demonstrator(habits, people, mappings, view, director, clearing)
    yield from demonstrator.wait_until_ready()
    done = 0
    for number in range(config.episodes):
        result = yield from demonstrator.run(config.first_seed + number)
        done += result.success
        _write(config, result)
        LOG.info(
            "episode %d of %d, seed %d: %s (%d of %d so far)",
            number + 1,
            config.episodes,
            result.seed,
            "kept" if result.kept else f"not kept: {result.reason}",
            done,
            number + 1,
        )
    return 0


def _write(config: OperatorsConfig, result: EpisodeOutcome) -> None:
    if config.report is not None:
        with config.report.open("a") as file:
            file.write(json.dumps({"task": config.task, **result.line()}) + "\n")


def _person(
    cell: Cell, side: Side, config: OperatorsConfig, view: WorldView, stack: ExitStack
) -> Person:
    operator = cell.operators[side]
    headset = stack.enter_context(HeadsetEmulator(operator.headset_ip, operator.headset_port))
    headset.set_tracked(operator.hand, True)
    buttons = stack.enter_context(
        JoyConEmulator(operator.joycon_serial, operator.joycon_side, cell.runtime_path("hid"))
    )
    calm = TremorConfig()
    unrest = replace(
        calm, position=config.unrest * calm.position, rotation=config.unrest * calm.rotation
    )
    tremor = Tremor(unrest, seed=SIDES.index(side)) if config.tremor else None
    person = Person(operator, headset, buttons, tremor, partial(_sees_closed, view, side))
    person.tick(0.0)
    return person


def _sees_closed(view: WorldView, side: Side) -> bool | None:
    """Whether a gripper is seen closed, or around an object."""
    return view.blocked(side) or view.opening(side) < FINGERS_OPEN if view.seen else None


def main() -> int:
    """Entry point."""
    config = tyro.cli(OperatorsConfig)
    return run_process("operators", CONTROL, lambda stop: run_operators(config, stop))


if __name__ == "__main__":
    raise SystemExit(main())
