"""A gripper that is told to open and close in turn turns a few times per second at most."""

import logging

import numpy as np
import pytest

from ate_policy.gripper_dwell import DWELL, GripperDwell

RATE = 20.0


def played(openings, *, skip=()):
    """What reaches the gripper of column 1 when a policy asks for these openings."""
    dwell = GripperDwell((1,), ("left_arm_1", "left_gripper"), RATE)
    given = [
        dwell.apply(np.array([0.3, opening], np.float32), tick)[1]
        for tick, opening in enumerate(openings)
        if tick not in skip
    ]
    return np.array(given), dwell


def turns(given):
    moves = np.sign(np.diff(given))
    moves = moves[moves != 0]
    return int((np.diff(moves) != 0).sum())


def test_a_gripper_that_chatters_at_every_tick_turns_four_times_per_second_at_most():
    given, dwell = played([tick % 2 for tick in range(200)])
    assert 10 < turns(given) <= 10.0 / DWELL
    assert dwell.held_back > 70


@pytest.mark.parametrize("period", [2, 3, 4])
def test_slower_chatter_is_bounded_as_well(period):
    given, _ = played([tick // period % 2 for tick in range(400)])
    assert turns(given) <= 20.0 / DWELL


@pytest.mark.parametrize(
    "openings",
    [
        np.linspace(1.0, 0.0, 15),
        np.r_[np.linspace(1, 0, 14), np.zeros(20), np.linspace(0, 1, 14), np.ones(9)],
        0.5 + 0.5 * np.cos(np.arange(200) / 20.0 * 2.0 * np.pi / 1.0),
        0.4 + 0.02 * np.array([-1, 1] * 50),
        np.linspace(1.0, 0.0, 100) + 0.02 * np.array([-1, 1] * 50),
        np.r_[np.ones(10), np.zeros(10), np.ones(10)],
    ],
    ids=["close", "grasp and release", "one per second", "noise", "noisy ramp", "jumps"],
)
def test_motion_that_seldom_turns_passes_to_the_bit(openings):
    given, dwell = played(openings)
    assert np.array_equal(given, np.float32(openings)) and dwell.held_back == 0


def test_a_turn_that_lasts_is_taken_when_the_dwell_is_over():
    openings = [1.0] * 10 + [0.0] * 2 + [1.0] * 20
    given, _ = played(openings)
    assert given[10] == 0.0, "the first turn is taken at once"
    assert list(given[12:15]) == [0.0] * 3 and given[15] == 1.0


def test_joints_and_the_action_that_was_given_stay_untouched():
    dwell = GripperDwell((1,), ("a", "b"), RATE)
    for tick in range(20):
        action = np.array([tick, tick % 2], np.float32)
        assert dwell.apply(action, tick)[0] == tick
        assert list(action) == [tick, tick % 2]


def test_a_new_start_knows_nothing_of_the_turns_before():
    _, dwell = played([0.0, 1.0, 0.0])
    dwell.reset()
    assert dwell.apply(np.array([0.0, 1.0], np.float32), 3)[1] == 1.0


def test_chatter_is_told_once_by_name_and_its_end_as_well(caplog):
    caplog.set_level(logging.INFO)
    played([*(tick % 2 for tick in range(60)), *[1.0] * 60])
    assert [record.getMessage()[:30] for record in caplog.records] == [
        "left_gripper is told to open a",
        "the grippers are calm again",
    ]
