"""At whole ratios of the rates each tick shows the row of its time, however rates are rounded."""

import numpy as np
import pytest

from training.foreign.ticks import make_ticks


@pytest.mark.parametrize("rate", [15, 20, 24, 25, 30, 45, 50, 60, 90, 100, 120])
@pytest.mark.parametrize("tick_rate", [15, 20, 25, 30, 50, 60])
def test_a_tick_shows_the_newest_row_of_its_time(rate, tick_rate):
    ticks = make_ticks(10 * rate, rate, tick_rate, own_actions=True)
    wanted = np.arange(len(ticks.times_ns)) * rate // tick_rate
    np.testing.assert_array_equal(ticks.shown(), wanted)
    assert (ticks.ages() >= 0.0).all() and ticks.ages().max() < 1.0 / rate
