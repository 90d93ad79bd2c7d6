"""The way of a braking joint: when it rests, and where."""

import numpy as np
import pytest

from ate_core.motion_profile import braking_time, rest, rest_time, toward

ACCELERATION = 15.0


@pytest.mark.parametrize("jerk", [50.0, 800.0, 10000.0])
@pytest.mark.parametrize("seed", range(20))
def test_a_braking_joint_rests_when_and_where_it_is_told(jerk, seed):
    rng = np.random.default_rng(seed)
    motion = (0.3, float(rng.uniform(-2.0, 2.0)), float(rng.uniform(-15.0, 15.0)))
    time = rest_time(motion, ACCELERATION, jerk)
    end, low, high = rest(motion, ACCELERATION, jerk)
    at_rest = toward(motion, 0.0, time, ACCELERATION, jerk)
    np.testing.assert_allclose(at_rest, (end, 0.0, 0.0), atol=1e-6)
    before = toward(motion, 0.0, 0.98 * time, ACCELERATION, jerk)
    assert abs(before[1]) > 1e-9
    way = [toward(motion, 0.0, time * part, ACCELERATION, jerk)[0] for part in np.linspace(0, 1)]
    assert low - 1e-9 <= min(way) and max(way) <= high + 1e-9


@pytest.mark.parametrize("speed", [-2.0, -0.1, 0.0, 0.1, 2.0])
@pytest.mark.parametrize("jerk", [50.0, 800.0])
def test_an_even_motion_rests_after_its_braking_time(speed, jerk):
    time = rest_time((0.0, speed, 0.0), ACCELERATION, jerk)
    assert time == pytest.approx(braking_time(abs(speed), ACCELERATION, jerk))
