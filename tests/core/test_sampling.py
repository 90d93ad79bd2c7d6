"""Which sample stands for a stream at a tick: each rule on a stream with a hole."""

import numpy as np
import pytest

from ate_core.resample import make_series
from ate_core.sampling import sample_ages, sample_by, sample_poses

STAMPS = [0, 100, 200, 600]
LINE = [np.nan, 0, 1.4, 1.6, 3.9, 4.1, 6, 6]
TICKS = np.array([-10, 0, 140, 160, 390, 410, 600, 700])
SERIES = make_series(STAMPS, [[0.0], [1.0], [2.0], [6.0]])


@pytest.mark.parametrize(
    ("rule", "values", "ages"),
    [
        ("hold", [np.nan, 0, 1, 1, 2, 2, 6, 6], [np.nan, 0, 40, 60, 190, 210, 0, 100]),
        ("refuse", [np.nan, 0, 1, 1, 2, 2, 6, 6], [np.nan, 0, 40, 60, 190, 210, 0, 100]),
        ("nearest", [0, 0, 1, 2, 2, 6, 6, 6], [-10, 0, 40, -40, 190, -190, 0, 100]),
        ("interpolate", LINE, [np.nan, 0, 40, 60, 190, 210, 0, 100]),
    ],
)  # fmt: skip
def test_a_rule_chooses_the_sample_and_its_age(rule, values, ages):
    np.testing.assert_allclose(sample_by(SERIES, TICKS, rule)[:, 0], values)
    np.testing.assert_allclose(sample_ages(STAMPS, TICKS, rule), np.array(ages) * 1e-9, rtol=1e-6)


def test_a_turn_is_interpolated_the_short_way():
    half = np.sqrt(0.5)
    poses = np.array([[[0, 0, 0, 0, 0, 0, 1.0]], [[1, 0, 0, 0, 0, -half, -half]]])
    series = make_series([0, 100], poses)
    middle = sample_poses(series, [50], "interpolate")[0, 0]
    np.testing.assert_allclose(middle[:3], [0.5, 0, 0])
    angle = 2 * np.arctan2(middle[5], middle[6])
    assert angle == pytest.approx(np.pi / 4)
