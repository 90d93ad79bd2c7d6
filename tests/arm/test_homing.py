"""The way home is slow whatever the clock does."""

import numpy as np
import pytest

from arm_driver.homing import HomePath

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
