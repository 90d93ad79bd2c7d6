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
