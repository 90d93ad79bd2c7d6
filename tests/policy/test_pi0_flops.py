import pytest

from benchmarks.guided_step_flops import BenchmarkConfig, count


def test_guidance_costs_at_most_five_percent_of_a_step_of_the_published_pi0():
    result = count(BenchmarkConfig())
    # Forward, by hand for three cameras and 20 prompt tokens [GFLOP]: vision 661, prefix 3215
    # less the unread part of its last layer 172, one pass of the expert 38; backward twice that.
    assert result.plain / 1e9 == pytest.approx(3 * (661 + 3215 - 172 + 38), rel=0.02)
    assert 0.0 < result.ratio <= 0.05
