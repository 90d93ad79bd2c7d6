"""The benchmark of the control loop says how punctual it is against a bare sleep loop."""

from benchmarks.loop_jitter import BenchmarkConfig, measure


def test_a_bare_sleep_loop_drifts_by_its_work_and_the_nodes_loop_does_not():
    result = measure(BenchmarkConfig(seconds=1.0, rate=50.0, work_ms=4.0))
    assert result.bare.median_ms > 23.9
    assert result.fixed_rate.median_ms < 22.0
    assert result.ratio > 0.0
    assert result.bare.misses >= 5 > result.fixed_rate.misses
