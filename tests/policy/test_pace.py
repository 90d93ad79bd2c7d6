"""A policy too slow for its cell is told with the rate to expect."""

import pytest

from ate_policy.pace import expected_rate, pace_finding


@pytest.mark.parametrize(
    ("inference", "rate"), [(0.0, 20.0), (0.05, 20.0), (0.5, 20.0), (1.0, 13.33), (4.5, 4.0)]
)
def test_the_rate_falls_once_a_chunk_ends_before_the_next_comes(inference, rate):
    assert expected_rate(inference, 10, 20, 20.0) == pytest.approx(rate, abs=0.01)


def test_a_policy_that_is_fast_enough_is_not_told():
    assert pace_finding(0.4, 10, 20, 20.0, "cpu") is None


def test_a_missing_gpu_is_told_with_the_rate_to_expect():
    slow = pace_finding(2.0, 10, 20, 20.0, "cpu")
    assert slow is not None and slow.status == "warn"
    assert "takes 2000 ms: about 8.0 of 20 actions per second" in slow.text
    assert "need 500 ms" in slow.text and "GPU" in slow.text
    assert "GPU" not in pace_finding(2.0, 10, 20, 20.0, "cuda").text
