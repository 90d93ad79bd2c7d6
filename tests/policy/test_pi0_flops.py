import pytest

from benchmarks import pi0_chunk_work
from benchmarks.guided_step_flops import BenchmarkConfig, count


def test_guidance_costs_at_most_five_percent_of_a_step_of_the_published_pi0():
    result = count(BenchmarkConfig())
    # Forward, by hand for three cameras and 20 prompt tokens [GFLOP]: vision 661, prefix 3215
    # less the unread part of its last layer 172, one pass of the expert 38; backward twice that.
    assert result.plain / 1e9 == pytest.approx(3 * (661 + 3215 - 172 + 38), rel=0.02)
    assert 0.0 < result.ratio <= 0.05


def test_a_chunk_of_the_published_pi0_is_few_products_and_many_kernels():
    result = pi0_chunk_work.count(pi0_chunk_work.BenchmarkConfig())
    # By hand as above. Parameters read [M]: vision and projector 415, 17 layers of 109 and keys
    # and values of the last one; expert 18 layers of 17.3 and projections 3, ten times.
    assert result.prefix.flop / 1e9 == pytest.approx(661 + 3215 - 172, rel=0.02)
    assert result.steps.flop / 1e9 == pytest.approx(10 * 38, rel=0.02)
    assert result.prefix.weights / 2e6 == pytest.approx(415 + 17 * 110 + 1, rel=0.02)
    assert result.steps.weights / 2e6 == pytest.approx(10 * (18 * 17.3 + 3), rel=0.02)
    # 18 layers and ten steps: 17 kernels for each, and few besides
    assert 17 * 180 <= result.steps.kernels <= 19 * 180
    assert result.theirs > 2 * (result.prefix.kernels + result.steps.kernels)
