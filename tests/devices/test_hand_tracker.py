"""Checks, ages and sessions of one hand's poses, with time as an argument."""

import numpy as np
import pytest

from operator_devices.hand_pose import (
    HEAD_STILL,
    NEVER_SEEN,
    TRANSFORM_ARKIT_TO_HEADSET,
    HandTracker,
    TrackingConfig,
    is_rigid,
)

STEP_NS = 11_000_000
"""One period of 90 Hz [ns]."""


def pose(x: float, turn: float = 0.0) -> np.ndarray:
    c, s = np.cos(turn), np.sin(turn)
    return np.array([[c, -s, 0, x], [s, c, 0, 0.4], [0, 0, 1, 1.0], [0, 0, 0, 1]])


@pytest.fixture
def tracker() -> HandTracker:
    tracker = HandTracker()
    tracker.begin_session()
    for index in range(3):
        tracker.update(pose(0.001 * index), pose(2e-5 * index), index * STEP_NS)
    return tracker


def test_a_moving_hand_is_tracked_after_its_first_change() -> None:
    tracker = HandTracker()
    assert not tracker.update(pose(0.0), pose(0.0), 0).tracked
    assert tracker.update(pose(0.001), pose(2e-5), STEP_NS).tracked


def test_the_exact_identity_of_the_wire_is_never_tracked() -> None:
    tracker = HandTracker()
    for index in range(5):
        sample = tracker.update(TRANSFORM_ARKIT_TO_HEADSET, pose(0.001 * index), index * STEP_NS)
        assert not sample.tracked


def test_an_unchanged_wrist_is_lost_after_a_tenth_of_a_second(tracker: HandTracker) -> None:
    ages = []
    for index in range(3, 16):
        sample = tracker.update(pose(0.002), pose(0.001 * index), index * STEP_NS)
        ages.append(((sample.received_ns - sample.changed_ns) * 1e-9, sample.tracked))
    assert all(tracked == (age <= 0.1) for age, tracked in ages)
    assert not ages[-1][1]
    assert tracker.update(pose(0.0025), pose(0.0), 20 * STEP_NS).tracked


@pytest.mark.parametrize(
    "bad",
    [
        np.full((4, 4), np.nan),
        np.vstack([pose(0.002)[:2], np.full((2, 4), np.nan)]),
        np.zeros((4, 4)),
        np.diag([1.0, 1.0, -1.0, 1.0]),
        pose(0.002).T,
        np.vstack([1e3 * pose(0.002)[:3], [0.0, 0.0, 0.0, 1.0]]),
        pose(0.002) + np.outer([1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 400.0]),
    ],
    ids=["NaN", "half NaN", "zeros", "mirrored", "transposed", "scaled", "millimetres"],
)
def test_an_unsound_pose_is_refused_and_counts_as_no_change(
    tracker: HandTracker, bad: np.ndarray
) -> None:
    before = tracker.sample
    after = tracker.update(bad, pose(0.0), 3 * STEP_NS)
    np.testing.assert_array_equal(
        after.transform_wrist_to_headset, before.transform_wrist_to_headset
    )
    assert after.changed_ns == before.changed_ns
    assert tracker.rejected == 1


def test_a_hand_that_is_remembered_while_its_person_walks_away_is_only_lost(tracker) -> None:
    wrist = tracker.sample.transform_wrist_to_headset
    for index in range(3, 500):
        sample = tracker.update(wrist, pose(-0.01 * index), index * STEP_NS)
    assert (sample.tracked, sample.flaw) == (False, "")


@pytest.mark.parametrize(
    ("wrist", "head"),
    [(pose(0.3), pose(0.0)), (pose(0.003, turn=1.0), pose(0.0)), (pose(0.003), pose(0.5))],
)
def test_a_jump_of_hand_or_head_begins_a_new_session(
    tracker: HandTracker, wrist: np.ndarray, head: np.ndarray
) -> None:
    session = tracker.sample.session
    assert tracker.update(wrist, head, 3 * STEP_NS).session == session + 1


def test_a_fast_reach_is_no_jump(tracker: HandTracker) -> None:
    session = tracker.sample.session
    for index in range(3, 30):  # 3 m/s
        sample = tracker.update(pose(0.033 * index), pose(0.0), index * STEP_NS)
    assert sample.session == session


def test_a_new_connection_is_a_new_session_and_not_tracked_until_it_moves(
    tracker: HandTracker,
) -> None:
    session = tracker.sample.session
    tracker.begin_session()
    sample = tracker.update(pose(0.003), pose(0.0), 3 * STEP_NS)
    assert (sample.session, sample.tracked) == (session + 1, False)


def test_a_lost_stream_marks_the_last_sample(tracker: HandTracker) -> None:
    assert tracker.sample.tracked
    tracker.lose()
    assert not tracker.sample.tracked


def test_reflections_and_scales_are_not_rigid() -> None:
    assert is_rigid(pose(1.0, 0.3))
    assert not is_rigid(np.diag([1.0, -1.0, 1.0, 1.0]))
    assert not is_rigid(1.01 * pose(0.0))


def test_a_config_that_never_loses_a_hand_is_refused() -> None:
    with pytest.raises(ValueError, match="unchanged_limit"):
        TrackingConfig(unchanged_limit=0.0)


def tracked_with_a_head(flicker: float, frozen_at: int) -> list[tuple[bool, str]]:
    """What is known of a live hand for a second, whose head stands still from a pose on."""
    tracker, random, known = HandTracker(), np.random.default_rng(2), []
    tracker.begin_session()
    for index in range(90):
        wrist = pose(0.2 + random.normal(0.0, 5e-5))
        head = pose(2e-5 * min(index, frozen_at) + flicker * (index % 2))
        sample = tracker.update(wrist, head, index * STEP_NS)
        known.append((sample.tracked, sample.flaw))
    return known


@pytest.mark.parametrize("flicker", [0.0, 2e-7])  # none, and that of a rounded number
@pytest.mark.parametrize("frozen_at", [1, 30])
def test_a_head_that_stands_still_is_told_and_its_hand_is_lost(
    flicker: float, frozen_at: int
) -> None:
    known = tracked_with_a_head(flicker, frozen_at)
    last = frozen_at + round(0.3e9) // STEP_NS
    assert all(tracked for tracked, _ in known[1 : frozen_at + 1])
    assert known[last + 1 :] == [(False, HEAD_STILL)] * (89 - last)


@pytest.mark.parametrize("frozen_at", [0, 1000])  # a source that knows no head, and a live one
def test_a_head_that_breathes_or_was_never_known_loses_no_hand(frozen_at: int) -> None:
    assert all(tracked for tracked, _ in tracked_with_a_head(0.0, frozen_at)[1:])


def test_a_head_that_stood_still_is_not_believed_in_a_new_connection_either() -> None:
    tracker = HandTracker()
    tracker.begin_session()
    for index in range(10):
        assert tracker.update(pose(1e-3 * index), pose(2e-5 * index), index * STEP_NS)
    tracker.begin_session()
    for index in range(100, 110):
        sample = tracker.update(pose(1e-3 * index), pose(2e-5 * 9), index * STEP_NS)
    assert (sample.tracked, sample.flaw) == (False, HEAD_STILL)


@pytest.mark.parametrize("flicker", [0.0, 6e-8, 2e-6])  # also of a float32 [m, rad]
def test_a_remembered_wrist_whose_last_digits_flicker_is_lost(
    tracker: HandTracker, flicker: float
) -> None:
    before, random = tracker.sample, np.random.default_rng(1)
    for index in range(3, 100):
        wrist = pose(0.002)
        wrist[:3] += random.uniform(-flicker, flicker, (3, 4))
        sample = tracker.update(wrist, pose(2e-5 * index), index * STEP_NS)
        assert sample.changed_ns == before.changed_ns
        assert sample.tracked == (sample.received_ns - sample.changed_ns <= 100_000_000)
    back = tracker.update(pose(0.047), pose(0.002), 100 * STEP_NS)
    assert back.tracked and back.changed_ns == back.received_ns


@pytest.mark.parametrize("flicker", [0.0, 6e-8])
def test_a_hand_never_seen_is_told_as_such_although_its_digits_flicker(flicker: float) -> None:
    tracker = HandTracker()
    for index in range(20):
        wrist = TRANSFORM_ARKIT_TO_HEADSET + flicker * (index % 2)
        sample = tracker.update(wrist, pose(2e-5 * index), index * STEP_NS)
        assert (sample.tracked, sample.flaw) == (False, NEVER_SEEN)


def test_a_live_hand_that_moves_by_no_more_than_its_noise_is_not_lost() -> None:
    tracker, random = HandTracker(), np.random.default_rng(4)
    for index in range(2000):
        wrist, head = pose(0.2), pose(2e-5 * (index % 2))
        wrist[:3, 3] += random.normal(0.0, 5e-5, 3)
        sample = tracker.update(wrist, head, index * STEP_NS)
        assert sample.tracked or not index


def test_a_hand_that_creeps_by_less_than_rounding_from_pose_to_pose_is_not_lost() -> None:
    tracker = HandTracker()
    for index in range(500):  # 0.4 mm/s
        sample = tracker.update(pose(4e-6 * index), pose(2e-5 * (index % 2)), index * STEP_NS)
        assert sample.tracked or index < 3
