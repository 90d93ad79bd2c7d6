import numpy as np
import pytest

from ate_core.errors import UsageError
from ate_core.geometry import rotation_exp, rotation_log, transform
from ate_teleop.filters import GateConfig, OneEuroConfig, OutlierGate, PoseFilter, Verdict
from ate_teleop.operator_settings import POSITION_FILTER, ROTATION_FILTER

DT = 1 / 90


def make_filter(start=None):
    start = np.eye(4) if start is None else start
    return PoseFilter(POSITION_FILTER, ROTATION_FILTER, start)


def test_a_filter_starts_exactly_at_its_start_and_stays_there():
    start = transform(rotation_exp([0.3, -0.8, 1.1]), [0.2, 0.4, 1.1])
    pose_filter = make_filter(start)
    np.testing.assert_array_equal(pose_filter.estimate, start)
    np.testing.assert_allclose(pose_filter.step(start, DT), start, atol=1e-12)


def test_noise_of_a_hand_at_rest_shrinks_to_a_third():
    rng = np.random.default_rng(0)
    pose_filter = make_filter()
    out = [
        pose_filter.step(
            transform(rotation_exp(rng.normal(0, 0.006, 3)), rng.normal(0, 0.0007, 3)), DT
        )
        for _ in range(2000)
    ]
    assert np.std([pose[:3, 3] for pose in out]) < 0.0007 / 2.5
    assert np.std([rotation_log(pose[:3, :3]) for pose in out]) < 0.006 / 2.5


def test_a_moving_hand_is_followed_with_little_lag():
    pose_filter = make_filter()
    times = np.arange(900) * DT
    omega = 2 * np.pi * 0.4
    truth = 0.15 * np.sin(omega * times)  # 0.38 m/s at most
    out = np.array([pose_filter.step(transform(np.eye(3), [x, 0, 0]), DT)[0, 3] for x in truth])
    wave = np.exp(-1j * omega * times[300:])
    delay = np.angle(np.sum(truth[300:] * wave) / np.sum(out[300:] * wave)) / omega
    assert 0 < delay < 0.02


def test_rotations_are_followed_through_half_a_turn():
    pose_filter = make_filter()
    for angle in np.linspace(0, 1.5 * np.pi, 400):
        out = pose_filter.step(transform(rotation_exp([0, 0, angle]), np.zeros(3)), DT)
        error = np.linalg.norm(rotation_log(out[:3, :3].T @ rotation_exp([0, 0, angle])))
        assert error < 0.1


def test_impossible_filter_settings_are_refused():
    with pytest.raises(UsageError, match="above 0"):
        OneEuroConfig(min_cutoff=0.0, beta=1.0)


def stroke(x):
    return transform(np.eye(3), [x, 0.0, 0.0])


def test_a_single_glitch_is_dropped_and_the_hand_goes_on():
    gate = OutlierGate(stroke(0.0), 0.0)
    assert gate.check(stroke(0.09), DT) is Verdict.REJECTED
    assert gate.check(stroke(0.01), 2 * DT) is Verdict.ACCEPTED


def test_a_turned_glitch_is_dropped_too():
    gate = OutlierGate(np.eye(4), 0.0)
    turned = transform(rotation_exp([0.6, 0, 0]), np.zeros(3))
    assert gate.check(turned, DT) is Verdict.REJECTED


def test_a_fast_reach_is_no_glitch():
    gate = OutlierGate(stroke(0.0), 0.0)
    verdicts = {gate.check(stroke(2.5 * DT * k), k * DT) for k in range(1, 40)}
    assert verdicts == {Verdict.ACCEPTED}


def test_a_hand_that_stays_away_is_reported_as_a_jump_once():
    config = GateConfig()
    gate = OutlierGate(stroke(0.0), 0.0, config)
    verdicts = [gate.check(stroke(0.5), DT * (k + 1)) for k in range(config.patience + 1)]
    rejected = [Verdict.REJECTED] * (config.patience - 1)
    assert verdicts == [*rejected, Verdict.JUMPED, Verdict.ACCEPTED]


def test_a_reach_during_a_gap_in_the_stream_is_no_glitch():
    gate = OutlierGate(stroke(0.0), 0.0)
    assert gate.check(stroke(0.3), 0.15) is Verdict.ACCEPTED
