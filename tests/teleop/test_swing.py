"""A hand that turns fast, comes down to the table or is unseen for a moment swings no arm.

Person, inverse kinematics, filter and an arm that lags are run as one loop: each alone is right
where together they swing.
"""

import math

import numpy as np
import pytest

from ate_core.arm_model import tool_chain
from ate_core.contract import load_cell
from ate_core.geometry import inverse, pose_to_matrix
from ate_core.safety import JointCommand, SafetyFilter
from ate_sim.experts import Expert
from ate_sim.people.tremor import Tremor, TremorConfig
from ate_sim.tasks import load_task
from ate_sim.world.sim_world import SimWorld
from ate_teleop.distance_rows import DistanceRows
from ate_teleop.filters import PoseFilter
from ate_teleop.ik import ArmIK
from ate_teleop.operator_settings import operator_settings

CELL = load_cell(hardware="sim")
SIDE, OTHER = "right", "left"
ARM = CELL.arms[SIDE]
CHAIN = tool_chain(ARM)
SETTINGS = operator_settings(CELL, SIDE)
POSE, STEP, TICK = 1.0 / 90.0, 0.010, 0.002
LAG = 0.03
"""Time constant of the arm behind its set point [s]."""
WAY_SEEN = 60
"""Poses of the hand to which the tool may still be on its way."""


@pytest.fixture(scope="module")
def world():
    return SimWorld(load_task("handover"), cell=CELL)


@pytest.fixture(scope="module")
def rows():
    rows = DistanceRows(CELL, SIDE)
    for now in (0.0, 0.02):  # two make a velocity: none
        rows.see_other(CELL.arms[OTHER].home, now)
    return rows


class Loop:
    """One operator and one arm, until the bar is picked up."""

    def __init__(self, plan, rows, seed):
        self.plan, self.tremor = plan, Tremor(TremorConfig(), seed)
        self.ik, self.filter = ArmIK(SETTINGS.ik, rows), SafetyFilter(CELL.safety, ARM)
        self.arm = self.set_point = np.array(ARM.home)
        self.ik.seed(self.arm)
        for now in (-STEP, 0.0):
            self.filter.step(now, self.arm)
        self.to_base = inverse(pose_to_matrix(ARM.base_pose))
        self.smooth, self.seen = None, 0.0

    def target(self, time):
        return self.to_base @ self.plan.tool_target(SIDE, time)[0]

    def run(self, seconds, unseen):
        """Largest distance of the tool from the hand's way [m]; `unseen` are times (from, to)."""
        way, away = [], []
        for tick in range(1, round(seconds / TICK) + 1):
            now = tick * TICK
            if math.floor(now / STEP) > math.floor((now - TICK) / STEP):
                target = self.filter.step(now, self.arm).target
                self.set_point = self.set_point if target is None else target
            self.arm = self.arm + (self.set_point - self.arm) * (1.0 - math.exp(-TICK / LAG))
            if math.floor(now / POSE) == math.floor((now - TICK) / POSE):
                continue
            way.append(self.target(now)[:3, 3])
            tool = CHAIN.fk(self.arm)[:3, 3]
            away.append(np.linalg.norm(np.array(way[-WAY_SEEN:]) - tool, axis=1).min())
            hand = self.target(now) @ self.tremor.step(POSE)
            if not any(begin < now < end for begin, end in unseen):
                self.follow(hand, now)
        return max(away)

    def follow(self, hand, now):
        if self.smooth is None:
            filters = SETTINGS.position_filter, SETTINGS.rotation_filter
            self.smooth = PoseFilter(*filters, hand)
        dt, self.seen = min(now - self.seen, SETTINGS.longest_step), now
        q = self.ik.step(self.smooth.step(hand, dt), dt).q
        command = JointCommand(commander="teleop", position=q, stamp=now)
        assert self.filter.submit(command, now).accepted or now < 2.0 * POSE


@pytest.mark.parametrize("seed", [4, 5, 7])
def test_a_wrist_that_is_too_slow_does_not_make_the_elbow_swing(world, rows, seed):
    world.reset(seed)
    loop = Loop(Expert(load_task("handover"), world, seed), rows, seed)
    assert loop.run(5.0, ()) < 0.005  # up to 0.034 where other joints make up for it


@pytest.mark.parametrize("seed", range(8))
def test_moments_unseen_do_not_make_the_arm_swing(world, rows, seed):
    world.reset(seed)
    loop = Loop(Expert(load_task("handover"), world, seed), rows, seed)
    begins = np.random.default_rng(seed).uniform(0.5, 5.0, 9)
    assert loop.run(5.0, [(begin, begin + 0.06) for begin in begins]) < 0.045
