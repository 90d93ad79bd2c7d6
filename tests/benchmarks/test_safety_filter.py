"""The benchmark of the safety filter times every limiter, and all of them follow."""

import numpy as np

from ate_core.contract import load_cell
from benchmarks.safety_filter import MOVES, BenchmarkConfig, limiters, measure


def test_every_limiter_is_timed() -> None:
    costs = measure(BenchmarkConfig(seconds=0.3))
    assert {"filter, guard", "filter alone", "plain clip"} <= set(costs)
    assert all(0.0 < cost.median_ms <= cost.p99_ms for cost in costs.values())


def test_all_limiters_follow_the_same_posture() -> None:
    cell = load_cell()
    home = np.array(cell.arms["left"].home)
    for name, step in limiters(cell).items():
        for tick in range(100):
            target = home + 0.05 * MOVES * min(tick / 50.0, 1.0)
            reached = step(target, 1.0 + 0.01 * tick)
        assert np.allclose(reached, home + 0.05 * MOVES, atol=1e-3), name
