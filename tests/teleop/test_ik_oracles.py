"""Pink and mink, where they are installed, answer as our solver does."""

import dataclasses

import numpy as np
import pytest

from ate_core.arm_model import tool_chain
from ate_core.contract import load_cell
from ate_core.geometry import rotation_exp
from ate_teleop.ik import arm_ik_config
from benchmarks.ik import IkBenchmark, broken, run_path
from benchmarks.ik_followers import Mink, Ours, Pink

DT = 1 / 90
NEEDED = 'compared where it is installed: pip install -e ".[oracles]"'


@pytest.fixture(params=[Pink, Mink], ids=["pink", "mink"])
def oracle(request):
    pytest.importorskip("qpsolvers", reason=NEEDED)
    pytest.importorskip(request.param.name, reason=NEEDED)
    return request.param


@pytest.mark.parametrize("seed", range(20))
def test_one_tick_ends_where_the_oracle_ends(oracle, seed):
    cell = load_cell()
    arm = cell.arms["left"]
    config = arm_ik_config(arm, cell.safety)
    # The pull of the oracles has no bound of its own.
    cost = dataclasses.replace(config.cost, posture_speed=10.0)
    config = dataclasses.replace(config, cost=cost)
    rng = np.random.default_rng(seed)
    q = rng.uniform(config.lower, config.upper)
    target = tool_chain(arm).fk(q)
    target[:3, 3] += rng.normal(scale=1e-4, size=3)
    target[:3, :3] = target[:3, :3] @ rotation_exp(rng.normal(scale=3e-4, size=3))
    answers = []
    for solver in (Ours(config, DT), oracle(config, DT)):
        solver.seed(q)
        answers.append(solver.step(solver.prepare(target)).copy())
    np.testing.assert_allclose(*answers, atol=2e-5)


def test_no_path_is_followed_worse_than_by_the_oracle(oracle):
    del oracle
    for name in ("free", "singular", "past reach", "edge"):
        found = broken(name, run_path(name, IkBenchmark(seconds=4.0, rounds=1)))
        assert not [fault for fault in found if "fast as" not in fault]
