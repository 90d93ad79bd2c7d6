"""Stops have a path of their own: whatever else of the driver hangs, they are acknowledged."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from arm_driver.device_stop import DeviceStop
from arm_driver.watchdog import GuardedStream, TickWatch

PROMISED = 0.100
"""Within this a stop is acknowledged [s]."""
SLACK = 0.150
"""What a busy machine may add [s]."""


@pytest.fixture
def live(make_bench) -> Iterator:
    """A driver that ticks by itself at 100 Hz on the real clock."""
    bench = make_bench("")
    bench.backend.clock = time.monotonic
    bench.deaths = []
    bench.ended = threading.Event()

    def die(reason: str) -> None:
        bench.deaths.append(reason)
        bench.ended.set()

    bench.use = lambda tick, now: None
    bench.stream = GuardedStream(
        bench.driver, 100.0, lambda t, now: bench.use(t, now), lambda now: None, die
    )
    bench.stream.start()
    assert until(lambda: bench.driver.ticks > 3)
    yield bench
    for event in bench.backend.may.values():
        event.set()
    bench.stream.close()


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.002)
    return True


def command(bench, target) -> str:
    now = time.monotonic()
    names = bench.arm.joint_names
    return bench.driver.command(names, list(target), "teleop", now, now).reason


def hang_in_stream(bench) -> None:
    bench.backend.may["stream"] = threading.Event()
    assert until(lambda: command(bench, bench.backend.q) == "" and bench.backend.hanging != "")


def timed(call: Callable[[], object]) -> tuple[object, float]:
    begin = time.monotonic()
    return call(), time.monotonic() - begin


@pytest.mark.parametrize("act", ["stop", "estop"])
def test_a_stop_is_acknowledged_while_clearing_hangs(live, act) -> None:
    live.backend.may["clear_errors"] = threading.Event()
    clearing = threading.Thread(target=live.driver.clear_errors)
    clearing.start()
    confirmed, took = timed(lambda: getattr(live.driver, act)("by hand"))
    assert confirmed and took < PROMISED + SLACK
    assert command(live, live.backend.q).startswith("stopped: by hand")
    live.backend.may["clear_errors"].set()
    clearing.join()


@pytest.mark.parametrize("act", ["stop", "estop"])
def test_a_stop_is_acknowledged_by_the_device_while_the_stream_hangs(live, act) -> None:
    hang_in_stream(live)
    confirmed, took = timed(lambda: getattr(live.driver, act)("by hand"))
    assert confirmed and took < PROMISED + SLACK
    assert live.backend.stops


@pytest.mark.parametrize("act", ["stop", "estop"])
def test_a_stop_is_answered_in_time_when_the_device_does_not_confirm(live, act) -> None:
    live.backend.may["stop"] = threading.Event()
    live.backend.link_error = "cut"
    _, took = timed(lambda: getattr(live.driver, act)("by hand"))
    assert took < PROMISED + SLACK


@pytest.mark.parametrize("act", ["stop", "estop"])
def test_a_stop_is_acknowledged_while_the_way_home_is_looked_at(make_bench, act) -> None:
    looking, may_end = threading.Event(), threading.Event()

    def path_problem(start, goal) -> str:
        looking.set()
        assert may_end.wait(20.0)
        return ""

    bench = make_bench("", path_problem=path_problem)
    bench.backend.q = bench.backend.q + 0.2
    bench.run()
    homing = threading.Thread(target=lambda: bench.driver.home(bench.now))
    homing.start()
    assert looking.wait(5.0)
    _, took = timed(lambda: getattr(bench.driver, act)("by hand"))
    may_end.set()
    homing.join()
    assert took < PROMISED + SLACK
    assert bench.run(20).state == "stopped"
    assert not bench.backend.sent


@pytest.mark.parametrize("act", ["stop", "estop"])
def test_a_stop_is_acknowledged_while_the_device_hangs_in_settling(live, act) -> None:
    live.backend.may["settle"] = threading.Event()
    live.driver.stop_device("begin anew", 1.0)
    assert until(lambda: live.backend.hanging == "settle")
    confirmed, took = timed(lambda: getattr(live.driver, act)("by hand"))
    assert confirmed and took < PROMISED + SLACK


def test_a_stop_that_the_device_does_not_confirm_is_repeated_until_it_does(live) -> None:
    live.backend.unconfirmed = 2
    assert not live.driver.estop("button")
    assert until(lambda: len(live.backend.stops) == 3)
    ticks = live.driver.ticks
    assert until(lambda: live.driver.ticks > ticks + 30)
    assert live.backend.stops == [True] * 3


def test_an_emergency_stop_does_not_queue_behind_a_stop_that_hangs(live) -> None:
    live.backend.may["stop"] = threading.Event()
    live.driver.stop_device("by hand", 0.0)
    assert until(lambda: live.backend.stops == [False])
    live.driver.estop("button")
    assert until(lambda: live.backend.stops == [False, True])


def test_a_target_on_its_way_during_a_stop_is_followed_by_another_stop(live) -> None:
    hang_in_stream(live)
    assert live.driver.estop("button")
    before = len(live.backend.stops)
    live.backend.may["stream"].set()
    assert until(lambda: len(live.backend.stops) > before)
    assert live.backend.stops[-1] is True


def test_ticks_that_stay_away_stop_the_device_and_then_end_the_process(live) -> None:
    hang_in_stream(live)
    assert until(lambda: len(live.backend.stops) == 1)
    assert not live.deaths
    assert live.ended.wait(5.0)
    assert "no tick of the arm stream" in live.deaths[0]


def test_a_stream_that_comes_back_begins_anew_without_a_jump(live) -> None:
    hang_in_stream(live)
    assert until(lambda: len(live.backend.stops) >= 1)
    live.backend.may.pop("stream").set()
    assert until(lambda: live.backend.hanging == "")
    live.backend.sent.clear()
    here = live.backend.q.copy()
    assert until(lambda: command(live, here + 0.05) == "" and len(live.backend.sent) > 20)
    assert np.abs(np.diff(live.backend.sent, axis=0)).max() < 0.03
    assert not live.deaths


def test_a_tick_that_raises_stops_the_arm_and_ends_the_process_with_the_reason(live) -> None:
    def use(tick, now) -> None:
        raise ValueError("a bad number")

    live.use = use
    assert live.ended.wait(5.0)
    assert "'arm stream' died of ValueError('a bad number')" in live.deaths[0]
    assert live.backend.stops


def test_any_other_thread_that_raises_does_the_same(live, monkeypatch) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    live.stream.cover_all_threads()
    thread = threading.Thread(target=lambda: 1 / 0, name="arm link")
    thread.start()
    thread.join()
    assert "'arm link' died of ZeroDivisionError" in live.deaths[0]
    assert live.backend.stops


def test_a_watchdog_that_was_late_itself_blames_nobody() -> None:
    watch = TickWatch()
    assert watch.look(5, 0.0) == 0.0
    assert watch.look(5, 3.0) < 0.03  # the whole process stood still
    silences = [watch.look(5, 3.0 + 0.01 * step) for step in range(1, 10)]
    assert silences[-1] > 0.09
    assert watch.look(6, 3.2) == 0.0


def test_who_asks_during_a_call_gets_the_answer_of_the_next() -> None:
    answers, gate = iter([False, True]), threading.Event()

    def stop() -> bool:
        assert gate.wait(5.0)
        return next(answers)

    stops = DeviceStop(stop)
    first = stops.request()
    second = stops.request()
    assert not stops.wait(first, 0.0)
    gate.set()
    assert second > first
    assert stops.wait(second, 5.0) in (True, False)


def test_a_stop_that_raises_is_not_confirmed() -> None:
    def stop() -> bool:
        raise OSError("no route")

    stops = DeviceStop(stop)
    assert not stops.wait(stops.request(), 5.0)


def test_a_stop_is_asked_for_again_after_no_thread_was_to_be_had(monkeypatch) -> None:
    def start(thread) -> None:
        raise RuntimeError("can't start new thread")

    stops = DeviceStop(lambda: True)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert not stops.wait(stops.request(), 5.0)
        assert stops.is_open
    assert stops.wait(stops.request(), 5.0)
