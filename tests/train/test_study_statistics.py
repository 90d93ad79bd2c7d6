import math

import pytest

from ate_core.errors import UsageError
from training.studies.rollout import Trial
from training.studies.statistics import arm_result, contrast, paired_difference


def trial(seed, success, *, score=None, jerk=100.0):
    return Trial(
        seed=seed,
        success=success,
        score=float(success) if score is None else score,
        duration=5.0,
        jerk=jerk,
        refused=1,
    )


def test_students_interval_over_three_runs_is_the_tables():
    found = paired_difference([[0.1, 0.1], [0.1, 0.3], [0.3, 0.3]])
    assert found.per_run == pytest.approx((0.1, 0.2, 0.3))
    assert found.mean == pytest.approx(0.2)
    half = 4.302653 * 0.1 / math.sqrt(3)  # t of 97.5 % with 2 degrees of freedom
    assert found.over_runs == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)


def test_two_runs_say_nothing_about_other_runs():
    assert paired_difference([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]).over_runs is None


def test_an_arm_pools_its_runs():
    result = arm_result([[trial(0, True), trial(1, False, score=0.5)], [trial(2, False)] * 2])
    assert (result.rate.successes, result.rate.trials) == (1, 4)
    assert result.per_run == (0.5, 0.0)
    assert result.score == pytest.approx(0.375)
    assert result.refused == 1.0


def test_arms_are_compared_start_by_start():
    plain = [[trial(0, True), trial(1, True)], [trial(2, False), trial(3, False)]]
    other = [
        [trial(0, True, jerk=200.0), trial(1, False, jerk=200.0)],
        [trial(2, True, jerk=50.0), trial(3, True, jerk=200.0)],
    ]
    found = contrast(plain, other)
    assert found.success.per_run == (-0.5, 1.0)
    assert found.success.mean == pytest.approx(0.25)
    assert (found.test.only_first, found.test.only_second) == (1, 2)
    assert found.test.p_value == pytest.approx(1.0)  # 2 of 3: 2 (3 + 1) / 8
    assert math.exp(found.jerk.mean) == pytest.approx(
        2**0.5
    )  # mean of log 2, log 2, -log 2, log 2


def test_other_starts_are_refused():
    with pytest.raises(UsageError, match="start 0 is paired with 1: roll out equal starts"):
        contrast([[trial(0, True)]], [[trial(1, True)]])
