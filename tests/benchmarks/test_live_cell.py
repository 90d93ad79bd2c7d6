"""What the looks at a launched cell say: how soon an arm rests, and what is a jump."""

import numpy as np
import pytest

from benchmarks.live_cell import Motion, lead

LIMIT = 2.0
TIMES = np.arange(0.0, 2.0, 0.004)


def motion(speeds, seconds=TIMES):
    """An arm of one joint that has these speeds at `TIMES`."""
    joints = np.cumsum(speeds)[:, None] * 0.004
    return Motion(times=TIMES, seconds=seconds, joints=joints, velocities=speeds[:, None])


def moving(*pieces):
    """1 rad/s within these pieces of time, else 0."""
    return sum(((a <= TIMES) & (b > TIMES)).astype(float) for a, b in pieces)


def test_an_arm_that_soon_moves_again_rested_when_it_first_did():
    assert motion(moving((0, 0.6), (1.3, 2))).rest_after(0.5) == pytest.approx(0.1, abs=0.01)


def test_an_arm_that_turns_round_does_not_rest_there():
    assert motion(moving((0, 0.6), (0.7, 0.9))).rest_after(0.5) == pytest.approx(0.4, abs=0.01)


def test_an_arm_that_goes_on_never_rests():
    assert motion(moving((0, 2))).rest_after(0.5) == np.inf


def test_an_arm_that_rests_already_has_nothing_to_wait_for():
    assert motion(moving((0, 0.3))).rest_after(0.5) == 0.0


def test_an_arm_whose_world_stands_does_not_rest():
    seconds = np.where(TIMES < 0.6, TIMES, 0.6)
    assert motion(moving((0, 0.6)), seconds).rest_after(0.5) == np.inf


def test_a_path_within_the_limit_is_not_ahead_of_it():
    assert lead(TIMES, LIMIT * TIMES[:, None], LIMIT) == pytest.approx(0.0, abs=1e-9)


def test_a_path_that_comes_late_and_catches_up_is_ahead_by_its_lateness():
    late = np.where((TIMES > 1.0) & (TIMES < 1.05), 1.0, TIMES)
    assert lead(TIMES, LIMIT * late[:, None], LIMIT) == pytest.approx(0.05, abs=0.005)


def test_a_jump_is_ahead_by_the_time_it_should_have_taken():
    joints = np.column_stack([np.zeros_like(TIMES), np.where(TIMES < 1.0, 0.0, -0.5)])
    assert lead(TIMES, joints, LIMIT) == pytest.approx(0.25, abs=0.005)
