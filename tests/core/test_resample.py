"""The tick sampler: last sample at or before, nothing later, nothing invented."""

import numpy as np
import pytest

from ate_core.errors import EpisodeError
from ate_core.resample import (
    Series,
    ages_ns,
    latest_at,
    make_series,
    sample,
    tick_grid,
    tick_period_ns,
)


def test_a_tick_takes_the_last_sample_at_or_before_it():
    stamps, ticks = [10, 20, 30], [9, 10, 15, 20, 29, 31]
    np.testing.assert_array_equal(latest_at(stamps, ticks), [-1, 0, 0, 1, 1, 2])


def test_no_tick_sees_the_future_or_skips_a_known_sample():
    rng = np.random.default_rng(1)
    stamps = np.sort(rng.integers(0, 1000, 50))
    ticks = np.sort(rng.integers(-10, 1100, 200))
    for tick, index in zip(ticks, latest_at(stamps, ticks), strict=True):
        assert index == np.count_nonzero(stamps <= tick) - 1


def test_of_equal_stamps_the_last_to_arrive_wins():
    series = make_series([20, 10, 20], [[1.0], [2.0], [3.0]])
    np.testing.assert_array_equal(sample(series, [20]), [[3.0]])


def test_arrival_out_of_order_does_not_change_the_value():
    rng = np.random.default_rng(2)
    stamps, values = np.arange(100), rng.normal(size=(100, 3))
    shuffled = rng.permutation(100)
    ticks = rng.integers(0, 120, 40)
    one = sample(make_series(stamps, values), ticks)
    other = sample(make_series(stamps[shuffled], values[shuffled]), ticks)
    np.testing.assert_array_equal(one, other)


def test_ages_count_from_the_stamp_and_say_when_there_is_none():
    np.testing.assert_array_equal(ages_ns([10, 20], [5, 10, 19, 26]), [-1, 0, 9, 6])
    np.testing.assert_array_equal(ages_ns([], [5]), [-1])


def test_a_stream_without_a_sample_yet_is_not_a_number():
    assert np.isnan(sample(make_series([10], [[1.0, 2.0]]), [5])).all()


def test_the_grid_begins_at_its_start_and_never_passes_its_end():
    period = tick_period_ns(20.0)
    ticks = tick_grid(7, 7 + 10 * period + 3, period)
    assert period == 50_000_000
    assert ticks[0] == 7 and ticks[-1] == 7 + 10 * period and len(ticks) == 11
    assert len(tick_grid(10, 9, period)) == 0


def test_a_grid_over_hours_does_not_drift():
    period = tick_period_ns(30.0)
    ticks = tick_grid(1_700_000_000_000_000_000, 1_700_010_000_000_000_000, period)
    assert set(np.diff(ticks)) == {period}


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_tick_rate_that_is_not_positive_is_refused(rate):
    with pytest.raises(EpisodeError, match="above 0"):
        tick_period_ns(rate)


def test_a_series_with_falling_stamps_is_refused():
    with pytest.raises(EpisodeError, match="must not fall"):
        Series(stamps_ns=np.array([2, 1]), values=np.zeros((2, 1)))
