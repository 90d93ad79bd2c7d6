"""A clock that is set is told from messages that were held up."""

import dataclasses

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.resample import make_series
from training.audit.findings import Finding, Untold
from training.audit.rules.timing import clock_step
from training.data.bag_reader import BagEpisode

CELL = load_cell(None, "sim")
TIMES = np.arange(0.0, 6.0, 0.01)


def episode(stamp_shift, held_up):
    """States whose stamps are moved, or whose messages come later [s]; both may be arrays."""
    rng = np.random.default_rng(0)
    ages = rng.uniform(0.0005, 0.008, len(TIMES)) + (rng.random(len(TIMES)) < 0.03) * 0.05
    stamps = np.round((TIMES + stamp_shift) * 1e9).astype(np.int64)
    received = np.round((TIMES + ages + held_up) * 1e9).astype(np.int64)
    joints = np.zeros((len(TIMES), 14))
    return BagEpisode(
        cell=CELL,
        info={"start_ns": 0},
        outcome={},
        series={"left_arm_state": make_series(np.sort(stamps), joints)},
        received_ns={"left_arm_state": received[np.argsort(stamps, kind="stable")]},
        images={},
    )


@pytest.mark.parametrize("by", [-0.3, -0.04, 0.04, 0.3])
@pytest.mark.parametrize("at", [1.0, 3.0, 5.0])
def test_a_clock_that_is_set_is_told_with_its_moment(by, at):
    (found,) = clock_step(episode(np.where(at <= TIMES, by, 0.0), 0.0))
    assert found.value == pytest.approx(-by, abs=0.01)
    assert found.start_s == pytest.approx(at, abs=0.35)


@pytest.mark.parametrize(
    "queue",
    [
        0.2 * np.clip(1.0 - TIMES / 1.5, 0.0, 1.0),
        0.2 * np.clip((TIMES - 4.5) / 1.5, 0.0, 1.0),
        0.3 * np.clip(1.0 - np.abs(TIMES - 3.0), 0.0, 1.0),
    ],
    ids=["at the start", "at the end", "between"],
)
def test_messages_that_wait_in_a_queue_are_no_step_of_a_clock(queue):
    assert list(clock_step(episode(0.0, queue))) == []


@pytest.mark.parametrize("by", [-0.031, 0.031, 0.1])
def test_messages_that_take_longer_from_some_moment_on_are_no_step(by):
    """A computer that gets busy: each picture is encoded later, but taken on its beat."""
    later = np.where((by > 0) == (TIMES >= 3.0), abs(by), 0.0)
    assert list(clock_step(episode(0.0, later))) == []
    slow = np.random.default_rng(0).uniform(0.0005, 0.008, 100)
    slow += np.where((by > 0) == (np.arange(100) >= 50), abs(by), 0.0)
    assert list(clock_step(camera(slow))) == []


@pytest.mark.parametrize("by", [-0.035, 0.035])
@pytest.mark.parametrize("left_out", [0, 1, 3])
def test_a_step_at_a_pause_of_the_pictures_is_still_one(by, left_out):
    one = camera(np.random.default_rng(0).uniform(0.0005, 0.008, 100), by * (np.arange(100) >= 50))
    kept = np.delete(np.arange(100), np.arange(50, 50 + left_out))
    series = {"cam_high": make_series(one.series["cam_high"].stamps_ns[kept])}
    received = {"cam_high": one.received_ns["cam_high"][kept]}
    (found,) = clock_step(dataclasses.replace(one, series=series, received_ns=received))
    assert isinstance(found, Finding) and found.value == pytest.approx(-by, abs=0.01)


def held_up(rng, times, mean):
    """Ages of messages that wait for a receiver which gets its turn at moments of chance [s]."""
    turns = np.cumsum(rng.exponential(mean, round(3 * times[-1] / mean) + 20))
    return turns[np.searchsorted(turns, times)] - times + rng.uniform(0.0005, 0.003, len(times))


@pytest.mark.parametrize("mean", [0.02, 0.06, 0.15])
def test_a_computer_that_gets_busy_in_mid_episode_sets_no_clock(mean):
    times = np.arange(100) * 0.4
    for seed in range(60):
        rng = np.random.default_rng(seed)
        busy = held_up(rng, times, mean)
        ages = np.where(times < times[50], rng.uniform(0.0005, 0.008, 100), busy)
        for said in (clock_step(camera(ages)), clock_step(camera(busy))):
            assert not any(isinstance(one, Finding) for one in said)


def test_clocks_that_drift_apart_are_not_set():
    assert list(clock_step(episode(0.01 * TIMES, 0.0))) == []


def camera(ages, stamp_shift=0.0):
    """Pictures at 2.5 Hz, received so much later [s]."""
    times = np.arange(len(ages)) * 0.4
    stamps = np.round((times + stamp_shift) * 1e9).astype(np.int64)
    return BagEpisode(
        cell=CELL,
        info={"start_ns": 0},
        outcome={},
        series={"cam_high": make_series(stamps)},
        received_ns={"cam_high": np.round((times + ages) * 1e9).astype(np.int64)},
    )


@pytest.mark.parametrize("seed", range(10))
def test_of_a_stream_of_which_all_is_held_up_nobody_can_tell_its_clock(seed):
    """A computer that hardly gets to its cameras: no picture is in time."""
    rng = np.random.default_rng(seed)
    (said,) = clock_step(camera(rng.uniform(0.0, 0.3, 40) + rng.exponential(0.2, 40)))
    assert isinstance(said, Untold) and said.stream == "cam_high"


def test_a_slow_stream_whose_messages_are_in_time_tells_its_clock():
    ages = np.random.default_rng(0).uniform(0.0, 0.01, 40)
    (found,) = clock_step(camera(ages, np.where(np.arange(40) >= 20, 0.1, 0.0)))
    assert isinstance(found, Finding) and found.start_s == pytest.approx(8.0, abs=0.3)


@pytest.mark.parametrize("count", [0, 15, 16, 17])
def test_a_short_stream_in_time_is_no_trouble(count):
    for seed in range(20):
        ages = np.random.default_rng(seed).uniform(0.0, 0.008, count)
        said = list(clock_step(camera(ages)))
        assert [one.reason for one in said] == [f"it has {count} messages (at least 16)"] * (
            count < 16
        )
