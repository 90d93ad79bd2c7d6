"""Short forms of the studies of the distance guard in the simulated world."""

import itertools

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_sim.world.sim_world import SimWorld
from benchmarks.guard_attempts import Nothing, run_attempt
from benchmarks.guard_truth import Truth


@pytest.fixture(scope="module")
def attempts():
    cell = load_cell(hardware="sim")
    world = SimWorld(Nothing(), cell=cell)
    return [run_attempt(cell, world, seed, 7.5) for seed in (*range(5), 46)]


def test_arms_driven_at_each_other_and_into_the_table_keep_their_distances(attempts):
    below = {(one.seed, kind): gap for one in attempts for kind, gap in one.below.items()}
    assert {key: gap for key, gap in below.items() if gap < 0.0} == {}


@pytest.mark.parametrize("words", ["arm", "table"])
def test_both_operators_are_told_what_holds_their_arms_back(attempts, words):
    due = [one for one in attempts if one.must_be_told(words)]
    assert len(due) >= 3
    assert [one.seed for one in due if not one.is_told(words)] == []


@pytest.mark.parametrize("cell", [None, "six_axis"])
def test_no_posture_that_is_too_near_in_the_world_passes_the_guard(cell):
    truth = Truth(load_cell(cell, "sim"))
    result = truth.compare(itertools.chain(truth.grid(3), truth.sample(300, seed=1)))
    assert result.near > 50
    assert result.false_passes == 0
    assert result.false_stops < 0.15 * result.postures
    assert all(passes == 0 for _, passes in result.kinds.values())


def test_the_guard_leaves_out_no_pair_that_the_world_can_bring_together():
    truth = Truth(load_cell(hardware="sim"))
    known = {kind.name for kind in truth._geometry.kinds}
    assert {kind for kind, _, _ in truth._solids._pairs} <= known
    parts = {frozenset(pair) for kind in truth._geometry.kinds for pair in kind.labels}
    assert frozenset(("left joint4", "left gripper")) in parts
    assert frozenset(("left joint2", "right joint6")) in parts
    assert not np.any([len(pair) == 1 and "gripper" not in str(pair) for pair in parts])
