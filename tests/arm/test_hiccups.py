"""A stream or a link that stood still: the arm stops, and its commander may go on."""

import numpy as np
import pytest


def stream_hangs(bench) -> None:
    bench.driver.stop_device("the stream hangs", 1.0)


def link_stops_the_arm(bench) -> None:
    bench.backend.session += 1  # while the link stays


HICCUPS = {"the stream hangs": stream_hangs, "the link stopped the arm": link_stops_the_arm}


@pytest.mark.parametrize("name", HICCUPS)
def test_after_a_hiccup_the_arm_goes_on_from_rest_without_its_commander_falling_silent(
    bench, name: str
) -> None:
    bench.wave(20)
    bench.backend.settled, bench.backend.settles_after = 0, 20
    HICCUPS[name](bench)
    bench.backend.sent.clear()
    here = bench.backend.q.copy()
    waiting = [bench.run(1, target=here + 0.1) for _ in range(19)]
    assert {(status.state, "glides" in status.reason) for status in waiting} == {("holding", True)}
    assert not bench.backend.sent
    assert bench.run(4, target=here + 0.1).state == "tracking"
    np.testing.assert_allclose(bench.backend.sent[0], here, atol=1e-3)
    speeds = np.abs(np.diff(bench.backend.sent, axis=0)) / 0.01
    assert np.abs(np.diff(speeds, axis=0)).max() < 0.2  # it ramps


@pytest.mark.parametrize("name", HICCUPS)
def test_stop_during_a_hiccup_still_silences_who_went_on(bench, name: str) -> None:
    bench.wave(20)
    bench.backend.settled, bench.backend.settles_after = 0, 20
    HICCUPS[name](bench)
    bench.run(5, target=bench.backend.q)
    bench.driver.estop("button")
    bench.run(5, target=bench.backend.q)
    bench.driver.estop_reset()
    bench.backend.sent.clear()
    status = bench.run(60, target=bench.backend.q)
    assert status.state != "tracking" and not bench.backend.sent


def test_new_link_silences_who_went_on(bench) -> None:
    bench.wave(20)
    bench.backend.link_error = "the controller closed the connection"
    bench.run(5, target=bench.backend.q)
    bench.backend.link_error, bench.backend.session = "", 2
    bench.backend.sent.clear()
    bench.run(30, target=bench.backend.q)
    assert not bench.backend.sent


def test_states_that_stay_away_during_a_hiccup_are_lost_feedback(bench) -> None:
    bench.wave(20)
    bench.backend.settled, bench.backend.settles_after = 0, 5
    link_stops_the_arm(bench)
    bench.backend.silent, bench.backend.last = True, None
    assert bench.run(20).state == "no_feedback"
    bench.backend.silent = False
    assert bench.run(9, target=bench.backend.q).state == "tracking"


@pytest.mark.parametrize("name", HICCUPS)
def test_hiccup_that_lasts_half_a_second_silences_who_went_on(bench, name: str) -> None:
    bench.wave(20)
    bench.backend.settled, bench.backend.settles_after = 0, 70
    HICCUPS[name](bench)
    bench.backend.sent.clear()
    target = bench.backend.q.copy()
    bench.run(200, target=target)
    assert not bench.backend.sent
    bench.run(60)
    assert bench.run(3, target=target).state == "tracking"


def states_stay_away(bench) -> None:
    bench.backend.silent = True


ON_THE_WAY_HOME = {**HICCUPS, "no states": states_stay_away}


@pytest.fixture
def away(make_bench):
    """A driver whose arm stands off its home, and counts the looks at the way."""
    looks = []
    bench = make_bench("", path_problem=lambda start, goal: looks.append(start) or bench.problem)
    bench.looks, bench.problem = looks, ""
    bench.backend.q = bench.backend.q + 0.25
    bench.run()
    return bench


def go_home(bench, ticks: int, held: bool = False) -> list[str]:
    """States while the button is held, or while nobody does anything more."""
    states = []
    for _ in range(ticks):
        if held:
            bench.driver.hold_home(bench.now)
        states.append(bench.run().state)
    return states


def interrupt(bench, name: str, held: bool = False) -> None:
    """A hiccup that is over in 0.2 s; what came before it is forgotten."""
    bench.looks.clear()
    bench.backend.settled, bench.backend.settles_after = 0, 20
    ON_THE_WAY_HOME[name](bench)
    go_home(bench, 1, held)
    bench.backend.sent.clear()


@pytest.mark.parametrize("name", ON_THE_WAY_HOME)
@pytest.mark.parametrize("held", [False, True], ids=["whole way", "held"])
def test_after_a_hiccup_the_way_home_is_looked_at_and_begun_anew_from_where_the_arm_is(
    away, name: str, held: bool
) -> None:
    assert away.driver.home(away.now) == "" or held
    assert go_home(away, 60, held)[-1] == "homing"
    interrupt(away, name, held)
    go_home(away, 18, held)
    assert not away.looks
    away.backend.silent = False
    here, sent = away.backend.q.copy(), len(away.backend.sent)
    assert "homing" in go_home(away, 350, held)
    np.testing.assert_allclose(away.backend.q, away.arm.home, atol=1e-3)
    assert len(away.looks) == 1
    np.testing.assert_allclose(away.looks[0], here, atol=5e-3)
    speeds = np.abs(np.diff([here, *away.backend.sent[sent:]], axis=0)) / 0.01
    assert speeds.max() < 0.52 and np.abs(np.diff(speeds, axis=0)).max() < 0.2


@pytest.mark.parametrize("name", ON_THE_WAY_HOME)
def test_after_a_hiccup_no_way_home_goes_on_whose_button_was_released(away, name: str) -> None:
    assert go_home(away, 60, held=True)[-1] == "homing"
    interrupt(away, name, held=True)
    go_home(away, 15, held=name in HICCUPS)
    away.backend.silent = False
    assert "homing" not in go_home(away, 100)
    assert not away.looks


STOPS_MEANWHILE = {
    "the emergency stop": lambda bench: (bench.driver.estop("x"), bench.driver.estop_reset()),
    "deactivation": lambda bench: [bench.driver.set_active(active) for active in (False, True)],
    "a command of an operator": lambda bench: bench.command(bench.backend.q),
    "a command that is refused": lambda bench: bench.command(bench.backend.q + 9.0),
    "a fault": lambda bench: setattr(bench.backend, "fault", "hot"),
    "a hiccup that lasts": lambda bench: setattr(bench.backend, "settles_after", 90),
}


@pytest.mark.parametrize("name", STOPS_MEANWHILE)
@pytest.mark.parametrize("held", [False, True], ids=["whole way", "held"])
def test_no_way_home_goes_on_that_was_ended_while_it_waited(away, name: str, held: bool) -> None:
    assert away.driver.home(away.now) == "" or held
    go_home(away, 60, held)
    interrupt(away, "the link stopped the arm", held)
    go_home(away, 5, held)
    STOPS_MEANWHILE[name](away)
    assert "homing" not in go_home(away, 200, held)
    assert not away.backend.sent


def test_a_way_home_that_was_ended_while_it_was_looked_at_anew_does_not_begin(away) -> None:
    assert away.driver.home(away.now) == ""
    go_home(away, 60)
    interrupt(away, "the link stopped the arm")
    away.driver.way_home._path_problem = lambda start, goal: away.command(start + 9.0) and ""
    assert "homing" not in go_home(away, 200)
    assert not away.backend.sent


def test_a_way_home_that_is_not_free_after_a_hiccup_is_given_up_with_the_reason(away) -> None:
    assert away.driver.home(away.now) == ""
    go_home(away, 60)
    away.problem = "the elbow passes the table at 3 mm"
    interrupt(away, "the link stopped the arm")
    assert "homing" not in go_home(away, 100)
    assert 1 <= len(away.looks) <= 50 and not away.backend.sent
    assert "the elbow passes the table" in away.run().reason
    away.problem = ""
    assert "homing" not in go_home(away, 100)
    assert away.driver.home(away.now) == ""
