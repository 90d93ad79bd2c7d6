"""The benchmark of CLAP's policies times both on equal terms."""

import pytest
import torch

from ate_core.errors import UsageError
from benchmarks.clap_latency import WARM_UP, LatencyConfig, main, makers, measure


@pytest.mark.parametrize("variant", ["state", "vision"])
def test_both_policies_make_a_chunk_and_stand_side_by_side(variant, capsys):
    config = LatencyConfig(preset="tiny", variant=variant, codes=2, codebook=8, rounds=1)
    flow, codes, decoded, joints = (make() for make in makers(config).values())
    assert flow.shape == (1, 20, 16) and decoded.shape == (2, 20, 7)
    assert joints.shape == (20, 16) and joints.isfinite().all() and (joints.std(0) > 1e-3).any()
    assert codes.shape == (1, 4) and 0 <= codes.min() <= codes.max() < 8
    assert main(config) == 0
    printed = capsys.readouterr().out
    assert "flow head, 4 Euler steps" in printed and "token policy, 4 codes" in printed


def test_each_round_times_one_of_each_and_the_first_rounds_do_not_count():
    order = []

    def maker(name):
        return lambda: order.append(name) or torch.zeros(1)

    times = measure({"a": maker("a"), "b": maker("b")}, 2, "cpu")
    assert order == ["a", "b"] * (WARM_UP + 2)
    assert [len(seconds) for seconds in times.values()] == [2, 2]


def test_no_rounds_are_refused():
    with pytest.raises(UsageError, match="rounds is 0, must be at least 1"):
        LatencyConfig(rounds=0)
