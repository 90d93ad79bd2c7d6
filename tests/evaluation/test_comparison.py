"""Intervals and paired tests agree with published values."""

import pytest

from ate_core.errors import UsageError
from training.evaluation.comparison import compare, success_rate


def test_wilson_interval_agrees_with_published_values():
    # Newcombe (1998), table I, method 3: 81/263 gives 0.2553-0.3662; 0/20 gives 0-0.1611.
    rate = success_rate(81, 263)
    assert rate.low == pytest.approx(0.2553, abs=5e-5)
    assert rate.high == pytest.approx(0.3662, abs=5e-5)
    none = success_rate(0, 20)
    assert none.low == 0.0 and none.high == pytest.approx(0.1611, abs=5e-5)


def test_intervals_are_mirrored_for_failures():
    a, b = success_rate(3, 20), success_rate(17, 20)
    assert a.low == pytest.approx(1 - b.high)
    assert a.high == pytest.approx(1 - b.low)


def test_only_differing_seeds_count():
    first = [True] * 10 + [True] * 5 + [False]
    second = [True] * 10 + [False] * 5 + [True]
    result = compare(first, second)
    assert (result.only_first, result.only_second) == (5, 1)
    assert result.p_value == pytest.approx(2 * (1 + 6) / 64)


def test_equal_outcomes_show_nothing():
    assert compare([True, False], [True, False]).p_value == 1.0


def test_impossible_counts_are_refused():
    with pytest.raises(UsageError):
        success_rate(5, 4)
    with pytest.raises(UsageError):
        compare([True], [True, False])
