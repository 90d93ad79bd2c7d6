"""No trajectory outlives what ends motions, whether it is followed, waits or is looked at."""

import numpy as np
import pytest

from arm_driver.following import Outcome, Request, TrajectoryFollower
from arm_driver.trajectory import NEAR_START, TrajectoryPoint, plan
from ate_core.contract import load_cell

SAFETY = load_cell().safety
PASSED = 40
"""Ticks until all that was stopped is over [10 ms]: the arm rests, the lease is free."""


class Desk:
    """A driver, a follower behind it, and the goals that somebody asks for."""

    def __init__(self, bench) -> None:
        self.bench, self.arm = bench, bench.arm
        self.follower = TrajectoryFollower(self._submit, bench.driver)
        self.follower.on_end = lambda source: bench.driver.release("trajectory", source)
        self.ends: list[tuple[Outcome, str]] = []
        self.goal = np.array(self.arm.home) + 0.2 * np.eye(len(self.arm.home))[0]
        self.run(5)

    def _submit(self, q, source) -> str:
        names, now = self.arm.joint_names, self.bench.now
        return self.bench.driver.command(names, q.tolist(), "trajectory", now, now, source).reason

    def run(self, ticks: int, measured: bool = True) -> None:
        for _ in range(ticks):
            self.bench.run()
            q = self.bench.backend.q if measured else None
            self.follower.step(self.bench.now, q, self.bench.tick.target)

    def start(self, asked, wait: float = 0.0) -> str:
        point = TrajectoryPoint(time=2.0, position=tuple(self.goal))
        present = np.array(self.arm.home)
        path = plan(self.arm.joint_names, [point], self.arm, SAFETY, present)
        begin = self.bench.now + wait
        ended = Request(trajectory=path, begin=begin, on_end=lambda *end: self.ends.append(end))
        return self.follower.start(asked, ended)


@pytest.fixture
def desk(make_bench) -> Desk:
    return Desk(make_bench(""))


def deactivated(desk) -> None:
    desk.bench.driver.set_active(False)
    desk.bench.driver.set_active(True)


def stopped(desk) -> None:
    desk.bench.beside(lambda: desk.bench.driver.stop("the service"))
    assert desk.bench.driver.enable() == ""


def emergency_stopped(desk) -> None:
    desk.bench.driver.estop("a person is in the cell")
    desk.bench.driver.estop_reset()


def faulty(desk) -> None:
    desk.bench.backend.fault = "joint 3 is hot"
    desk.bench.run(3)
    assert desk.bench.clear() == ""
    assert desk.bench.driver.enable() == ""


def hand_guided(desk) -> None:
    desk.bench.backend.changes = {"obstacle": "hand guiding"}
    desk.bench.run(3)
    desk.bench.backend.changes = {}
    desk.bench.run(3)
    assert desk.bench.driver.enable() == ""


def relinked(desk) -> None:
    desk.bench.backend.link_error = "cable pulled"
    desk.bench.run(20)
    desk.bench.backend.link_error, desk.bench.backend.session = "", 2
    desk.bench.run(3)


def told_to_stop_by_the_watchdog(desk) -> None:
    desk.bench.driver.stop_device("the stream hangs", 0.0)


EVENTS = [
    deactivated,
    stopped,
    emergency_stopped,
    faulty,
    hand_guided,
    relinked,
    told_to_stop_by_the_watchdog,
]
every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)


@every_event
def test_a_trajectory_still_looked_at_never_starts_after(desk, event) -> None:
    asked = desk.follower.ask("tool")
    event(desk)
    desk.run(PASSED)
    refusal = desk.start(asked)
    assert refusal
    sent = len(desk.bench.backend.sent)
    desk.run(PASSED)
    assert len(desk.bench.backend.sent) == sent
    assert desk.start(desk.follower.ask("tool")) == ""  # what is asked for anew may


@every_event
def test_a_trajectory_that_waits_never_starts_after(desk, event) -> None:
    assert desk.start(desk.follower.ask("tool"), wait=1.0) == ""
    desk.run(3)
    event(desk)
    desk.run(PASSED)
    sent = len(desk.bench.backend.sent)
    desk.run(100)
    assert len(desk.bench.backend.sent) == sent
    assert [outcome for outcome, _ in desk.ends] == [Outcome.REFUSED]
    assert desk.ends[0][1]


@every_event
def test_a_trajectory_under_way_ends_and_never_goes_on_after(desk, event) -> None:
    assert desk.start(desk.follower.ask("tool")) == ""
    desk.run(60)
    assert desk.bench.tick.status.state == "tracking"
    event(desk)
    desk.run(PASSED)
    rests = desk.bench.backend.q.copy()
    desk.run(100)
    np.testing.assert_array_equal(desk.bench.backend.q, rests)
    assert [outcome for outcome, _ in desk.ends] == [Outcome.REFUSED]
    assert np.abs(rests - desk.goal).max() > 0.05


def test_a_trajectory_asked_for_during_a_stop_never_starts_after_it(desk) -> None:
    desk.bench.driver.set_active(False)
    asked = desk.follower.ask("tool")
    desk.bench.driver.set_active(True)
    assert "inactive" in desk.start(asked, wait=1.0)


@pytest.mark.parametrize("source", ["", "tool"])
def test_a_trajectory_that_was_cancelled_while_it_was_looked_at_never_starts(desk, source) -> None:
    asked = desk.follower.ask("tool")
    desk.follower.cancel("cancelled by its client", source)
    assert desk.start(asked) == "cancelled by its client"
    assert desk.start(desk.follower.ask("tool")) == ""


def test_of_two_trajectories_that_are_looked_at_the_newer_starts(desk) -> None:
    first, second = desk.follower.ask("tool"), desk.follower.ask("tool")
    assert "newer" in desk.start(first)
    assert desk.start(second) == ""


def test_an_arm_that_moved_while_a_trajectory_waited_does_not_start_it(desk) -> None:
    assert desk.start(desk.follower.ask("tool"), wait=0.5) == ""
    desk.bench.wave(30, offset=2 * NEAR_START)  # by somebody whose commands end nothing here
    desk.run(100)
    assert desk.ends[0][0] is Outcome.REFUSED
    assert "from where" in desk.ends[0][1]


def test_a_trajectory_that_waits_ends_when_the_states_are_lost(desk) -> None:
    assert desk.start(desk.follower.ask("tool"), wait=0.5) == ""
    desk.run(1, measured=False)
    assert desk.ends == [(Outcome.REFUSED, "no state of the arm")]
