"""The way home is slow whatever the clock does, and anybody ends it."""

import numpy as np
import pytest

from arm_driver.homing import HomePath
from ate_core.motion_guard import GuardVerdict

START, GOAL = np.zeros(7), np.array([0.5, -1.0, 0.0, 2.0, 0.1, 0.0, 0.0])


def test_path_ends_at_home_at_rest() -> None:
    path, points, now = HomePath(START, GOAL, 0.0, speed=1.0, period=0.01), [], 0.0
    while not path.done:
        now += 0.01
        points.append(path.advance(now))
    assert np.allclose(points[-1], GOAL)
    speeds = np.abs(np.diff(points, axis=0)).max(axis=1) / 0.01
    assert 0.99 < speeds.max() <= 1.0
    assert speeds[0] < 0.01 and speeds[-1] == 0.0
    assert now < 2.0 * 1.875 + 0.25


def test_late_call_does_not_catch_up() -> None:
    path = HomePath(START, GOAL, 0.0, speed=1.0, period=0.01)
    times = np.cumsum(np.random.default_rng(0).uniform(0.005, 0.2, size=400))
    points = np.array([path.advance(now) for now in times])
    assert np.abs(np.diff(points, axis=0)).max() <= 1.0 * 0.0121


@pytest.mark.parametrize("rate", [50.0, 100.0, 250.0])
def test_the_way_home_takes_the_same_time_at_every_rate_of_the_stream(rate: float) -> None:
    path, ticks = HomePath(START, GOAL, 0.0, speed=1.0, period=1.0 / rate), 0
    while not path.done:
        ticks += 1
        path.advance(ticks / rate)
    assert ticks / rate == pytest.approx(2.0 * 1.875 + 0.2, abs=2.0 / rate)


def test_a_period_of_the_rm75s_stream_advances_the_path_by_at_most_12_ms() -> None:
    late, prompt = (HomePath(START, GOAL, 0.0, speed=1.0, period=0.01) for _ in range(2))
    np.testing.assert_array_equal(late.advance(1.0), prompt.advance(0.012))


def test_the_path_waits_for_a_set_point_that_a_guard_slows_and_is_given_up() -> None:
    path, now = HomePath(START, GOAL, 0.0, speed=0.5, period=0.01), 0.0
    while not path.blocked:
        now += 0.01
        point = path.advance(now, follower=START)
        assert np.abs(point - START).max() < 0.09
    assert 3.0 < now < 4.5
    assert not path.done


def test_a_way_home_that_is_barred_just_before_its_end_never_arrives() -> None:
    path, now, barred_at = HomePath(START, GOAL, 0.0, speed=0.5, period=0.01), 0.0, GOAL - 0.05
    while not path.blocked:
        now += 0.01
        point = path.advance(now, follower=START if now < 0.02 else barred_at)
        barred_at = point if np.abs(point - GOAL).max() > 0.05 else barred_at
        assert not path.done


@pytest.fixture
def away(make_bench):
    """A driver whose arm stands off its home."""
    bench = make_bench("")
    bench.backend.q = bench.backend.q + 0.25
    bench.run()
    return bench


def test_homing_is_slow_and_ends_at_home_with_the_arm_free(away) -> None:
    assert away.driver.home(away.now) == ""
    states = [away.run().state for _ in range(300)]
    assert "homing" in states and states[-1] in ("holding", "connected")
    np.testing.assert_allclose(away.backend.q, away.arm.home, atol=1e-3)
    speeds = np.abs(np.diff(away.backend.sent, axis=0)) / 0.01
    assert speeds.max() < 0.52


def make_a_new_link(bench) -> None:
    bench.backend.link_error = "the controller closed the connection"
    bench.run(2)
    bench.backend.link_error, bench.backend.session = "", 2


@pytest.mark.parametrize("distance", [0.015, 0.03, 0.1, 0.2])
def test_a_short_way_home_is_no_faster_than_a_long_one(make_bench, distance: float) -> None:
    bench = make_bench("")
    bench.backend.q = bench.backend.q + distance
    bench.run()
    assert bench.driver.home(bench.now) == ""
    bench.run(150)
    np.testing.assert_allclose(bench.backend.q, bench.arm.home, atol=1e-3)
    assert np.abs(np.diff(bench.backend.sent, axis=0)).max() / 0.01 < 0.51


ENDS = {
    "a command": lambda bench: bench.command(bench.backend.q),
    "a stop": lambda bench: bench.beside(lambda: bench.driver.stop("by hand")),
    "the emergency stop": lambda bench: bench.driver.estop("button"),
    "deactivation": lambda bench: bench.driver.set_active(False),
    "a fault": lambda bench: setattr(bench.backend, "fault", "hot"),
    "an obstacle": lambda bench: setattr(bench.backend, "changes", {"obstacle": "hand guiding"}),
    "a new link": make_a_new_link,
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("held", [False, True], ids=["whole way", "held"])
def test_homing_is_ended_by(away, name, held) -> None:
    for step in range(60):
        if held and step % 5 == 0:
            assert away.driver.hold_home(away.now) == ""
        elif step == 0:
            assert away.driver.home(away.now) == ""
        status = away.run()
    assert status.state == "homing"
    ENDS[name](away)
    states = []
    for _ in range(100):
        if held:
            away.driver.hold_home(away.now)  # the button is still held
        states.append(away.run().state)
    assert "homing" not in states[1:]
    assert np.abs(away.backend.q - away.arm.home).max() > 0.02
    ended = away.backend.q.copy()
    away.run(20)
    np.testing.assert_array_equal(away.backend.q, ended)


def test_hold_to_home_ends_in_a_brake_when_the_button_is_released(away) -> None:
    for step in range(60):
        if step % 5 == 0:
            away.driver.hold_home(away.now)
        away.run()
    sent = len(away.backend.sent)
    states = [away.run().state for _ in range(60)]
    assert states.index("holding") <= 11 and states[-1] in ("holding", "connected")
    assert away.run().reason == "the home button was released"
    steps = np.diff(away.backend.sent[sent - 1 :], axis=0)
    assert np.abs(steps[9:]).max(initial=0.0) <= 1e-9, "at rest 140 ms after the last message"
    accelerations = np.abs(np.diff(steps, axis=0)) / 0.01**2
    assert accelerations.max() <= 15.0 + 1e-6


def test_hold_to_home_reaches_home_and_means_nothing_after(away) -> None:
    for _ in range(300):
        away.driver.hold_home(away.now)
        status = away.run()
        if status.reason == "at home":
            assert away.driver.hold_home(away.now) == ""
    np.testing.assert_allclose(away.backend.q, away.arm.home, atol=1e-3)
    assert status.state in ("holding", "connected") and status.reason == "at home"


class Obstacle:
    """A guard that lets nothing through while something is in the way."""

    def __init__(self) -> None:
        self.near = ""

    def limit(self, q, velocity, wanted, dt, now, stopping) -> GuardVerdict:
        return GuardVerdict(velocity=0.0 * wanted if self.near else wanted, reason=self.near)


def test_a_held_way_home_that_the_other_arm_bars_is_given_up_and_is_begun_anew_only_on_purpose(
    make_bench,
) -> None:
    guard = Obstacle()
    bench = make_bench("", guard=guard)
    bench.backend.q = bench.backend.q + 0.25
    bench.run()
    for tick in range(500):
        bench.driver.hold_home(bench.now)
        if tick == 30:
            guard.near = "right wrist at 12 mm, bound 10 mm"
        status = bench.run()
        if tick == 100:
            assert status.state == "homing" and "right wrist" in status.reason
    assert "blocked" in bench.driver.hold_home(bench.now)
    guard.near = ""
    waiting = bench.backend.q.copy()
    for _ in range(100):
        assert "release the home button first" in bench.driver.hold_home(bench.now)
        bench.run()
    np.testing.assert_array_equal(bench.backend.q, waiting)
    bench.run(25)
    assert bench.driver.hold_home(bench.now) == ""


def test_a_home_button_held_while_a_driver_starts_must_be_released_first(away) -> None:
    away.driver.set_active(False)  # as every driver starts
    assert "inactive" in away.driver.hold_home(away.now)
    away.driver.set_active(True)
    for _ in range(50):
        away.run()
        assert "release the home button first" in away.driver.hold_home(away.now)
    assert not away.backend.sent


def test_a_home_button_held_through_a_stop_must_be_released_first(away) -> None:
    away.beside(lambda: away.driver.stop("by hand"))
    assert "stopped" in away.driver.hold_home(away.now)
    away.run(5)
    assert away.driver.enable() == ""
    for _ in range(50):
        assert "release the home button first" in away.driver.hold_home(away.now)
        away.run()
    away.run(25)
    assert away.driver.hold_home(away.now) == ""


def test_a_home_that_was_refused_may_be_asked_for_again_at_once(away) -> None:
    away.run(5, target=away.backend.q)
    assert "teleop" in away.driver.home(away.now)
    assert away.beside(lambda: away.driver.stop("by hand"))
    assert away.driver.enable() == ""
    away.run()
    assert away.driver.home(away.now) == ""


def test_home_is_refused_while_somebody_holds_the_arm(away) -> None:
    away.run(5, target=away.backend.q)
    assert "teleop" in away.driver.home(away.now)


def test_a_way_home_that_is_not_free_is_refused_with_the_reason(make_bench) -> None:
    asked = []

    def path_problem(start, goal) -> str:
        asked.append((start, goal))
        return "the elbow passes the table at 3 mm"

    bench = make_bench("", path_problem=path_problem)
    bench.backend.q = bench.backend.q + 0.25
    bench.run()
    assert bench.driver.home(bench.now) == "the elbow passes the table at 3 mm"
    np.testing.assert_array_equal(asked[0], (bench.backend.q, bench.arm.home))
    assert bench.run(20).state == "connected" and not bench.backend.sent


COME_AND_GO = {
    "a stop": lambda bench: (
        bench.beside(lambda: bench.driver.stop("by hand")),
        bench.driver.enable(),
    ),
    "the emergency stop": lambda bench: (bench.driver.estop("x"), bench.driver.estop_reset()),
    "deactivation": lambda bench: [bench.driver.set_active(active) for active in (False, True)],
    "a new link": make_a_new_link,
    "a stop of the link": lambda bench: setattr(bench.backend, "session", 2),
    "a stop of the device": lambda bench: bench.driver.stop_device("the stream hangs", 0.0),
    "an obstacle": lambda bench: [
        (setattr(bench.backend, "changes", changes), bench.run(2))
        for changes in ({"obstacle": "hand guiding"}, {})
    ],
}


@pytest.mark.parametrize("name", COME_AND_GO)
def test_a_way_home_does_not_begin_when_a_stop_came_and_went_during_its_check(
    make_bench, name
) -> None:
    def path_problem(start, goal) -> str:
        COME_AND_GO[name](bench)
        bench.run(2)
        return ""

    bench = make_bench("", path_problem=path_problem)
    bench.backend.q = bench.backend.q + 0.25
    bench.run(3)
    assert bench.driver.home(bench.now) != ""
    bench.run(20)
    assert not bench.backend.sent


def test_a_way_home_that_was_asked_for_before_a_stop_does_not_begin_after_it(away) -> None:
    asked = away.driver.stops_so_far
    COME_AND_GO["a stop"](away)
    away.run()
    assert "a stop came" in away.driver.home(away.now, asked)
    assert away.driver.home(away.now, away.driver.stops_so_far) == ""


def test_a_home_button_waits_for_no_look_at_the_way(make_bench) -> None:
    works, looks = [], []
    bench = make_bench("", aside=works.append, path_problem=lambda *way: looks.append(way) or "")
    bench.backend.q = bench.backend.q + 0.25
    bench.run()
    for _ in range(20):
        assert bench.driver.hold_home(bench.now) == ""
        bench.run()
    assert len(works) == 1 and not looks
    works.pop()()
    assert len(looks) == 1 and bench.run().state == "homing"


@pytest.mark.parametrize("goes_on", [True, False], ids=["held", "released"])
def test_a_button_held_while_the_way_is_looked_at_means_what_it_is_at_the_end(
    make_bench, goes_on
) -> None:
    asked = []

    def path_problem(start, goal) -> str:
        asked.append(goal)
        for _ in range(50 if len(asked) == 1 else 0):  # half a second
            bench.run()
            if goes_on:
                bench.driver.hold_home(bench.now)
        return ""

    bench = make_bench("", path_problem=path_problem)
    bench.backend.q = bench.backend.q + 0.25
    bench.run()
    assert bench.driver.hold_home(bench.now) == ""
    before = bench.backend.q.copy()
    states = [bench.run().state for _ in range(8)]
    assert ("homing" in states) == goes_on
    assert goes_on or np.array_equal(bench.backend.q, before)
