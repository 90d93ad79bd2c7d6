"""Simulated time follows the clock."""

import numpy as np
import pytest

from ate_sim.realtime.ramp import LONGEST_PERIOD, RETURN_SPEED, TargetRamp
from ate_sim.realtime.scheduler import SchedulerConfig, StepScheduler


def test_steps_never_run_ahead_of_the_clock() -> None:
    scheduler = StepScheduler(SchedulerConfig(step=0.002), now=10.0)
    random = np.random.default_rng(0)
    now, steps = 10.0, 0
    for wait in random.uniform(0.0, 0.01, 500):
        now += wait
        steps += scheduler.steps_due(now)
        assert 0.0 <= (now - 10.0) - steps * 0.002 < 0.002 + 1e-9


def test_a_short_lag_is_caught_up() -> None:
    scheduler = StepScheduler(SchedulerConfig(step=0.002), now=0.0)
    assert scheduler.steps_due(0.15) == 75
    assert scheduler.report(0.15).drops == 0


def test_a_long_lag_is_dropped_and_counted() -> None:
    scheduler = StepScheduler(SchedulerConfig(step=0.002, largest_debt=0.2), now=0.0)
    assert scheduler.steps_due(0.5) == 0
    assert scheduler.steps_due(0.6) == 50
    report = scheduler.report(0.6)
    assert report.drops == 1
    assert report.dropped == pytest.approx(0.5)
    assert report.factor == pytest.approx(0.1 / 0.6)


def test_the_time_of_a_rebuild_is_left_out() -> None:
    scheduler = StepScheduler(SchedulerConfig(step=0.002), now=0.0)
    assert scheduler.steps_due(0.1) == 50
    scheduler.resume(paused_at=0.1, now=1.0)
    assert scheduler.steps_due(1.1) == 50
    report = scheduler.report(1.1)
    assert report.wall == pytest.approx(0.2)
    assert report.factor == pytest.approx(1.0)
    assert report.drops == 0


def test_targets_are_joined_by_ramps_without_a_jump() -> None:
    ramp = TargetRamp(np.zeros(1))
    wanted, trace = 0.0, []
    for step in range(1000):
        now = step * 0.002
        if step % 5 == 0:  # a writer at 100 Hz, moving at 1 rad/s
            wanted = now
            ramp.offer(np.array([wanted]), 1 + int(now * 1e9), now)
        trace.append(float(ramp.at(now)[0]))
    speed = np.diff(trace[50:]) / 0.002
    assert np.max(speed) < 1.01
    assert np.min(speed) > 0.99
    assert abs(trace[-1] - 1.998) < 0.02


def test_a_world_that_wakes_up_late_moves_no_joint_faster() -> None:
    ramp, trace, seconds = TargetRamp(np.zeros(1)), [], 0.0
    for wake in (0.01, 0.02, 0.03, 0.04, 0.13, 0.14, 0.15):  # [s]; a target of 1 rad/s each 10 ms
        ramp.offer(np.array([wake]), 1 + int(wake * 1e9), seconds)
        while seconds < wake:
            seconds += 0.002
            trace.append(float(ramp.at(seconds)[0]))
    assert np.max(np.diff(trace[10:])) / 0.002 < 1.05


def test_a_world_that_stood_still_brings_its_joints_back_slowly() -> None:
    ramp = TargetRamp(np.zeros(1))
    ramp.offer(np.array([0.0]), 1, 0.0)
    ramp.stand_still(1.0)
    trace = []
    for step in range(250):
        now = 1.0 + 0.002 * step
        ramp.offer(np.array([0.3]), 2_000_000_000 + step * 2_000_000, now)
        trace.append(float(ramp.at(now)[0]))
    assert np.max(np.diff(trace)) / 0.002 < 1.01 * RETURN_SPEED
    assert trace[-1] == pytest.approx(0.3)


def test_without_new_targets_the_last_one_stays() -> None:
    ramp = TargetRamp(np.zeros(7))
    ramp.offer(np.full(7, 0.3), 1, 0.0)
    np.testing.assert_allclose(ramp.at(LONGEST_PERIOD), 0.3)
    np.testing.assert_allclose(ramp.at(1e6), 0.3)


def test_a_target_that_is_not_finite_is_ignored() -> None:
    ramp = TargetRamp(np.zeros(2))
    ramp.offer(np.array([np.nan, 0.1]), 1, 0.0)
    np.testing.assert_array_equal(ramp.at(1.0), 0.0)
