"""Distances in the inverse kinematics, alone and in front of the arm's safety filter."""

import numpy as np
import pytest

from ate_core.arm_model import tool_chain
from ate_core.contract import load_cell
from ate_core.guard import CellGeometry, DistanceGuard
from ate_core.safety import JointCommand, SafetyFilter
from ate_teleop.distance_rows import DistanceRows
from ate_teleop.ik import ArmIK, arm_ik_config

CELL = load_cell(hardware="sim")
ARM, OTHER = CELL.arms["left"], np.array(CELL.arms["right"].home)
CONFIG, CHAIN = arm_ik_config(ARM, CELL.safety), tool_chain(ARM)
HOME = np.array(ARM.home)
DT = 0.01
MIDDLE = np.array([0.1, 0.2, 0.0, 1.75, 0.1, 1.1, 0.0])


@pytest.fixture(scope="module")
def geometry():
    return CellGeometry(CELL, ("left",))


def gaps(geometry, q, other=OTHER):
    """Kind -> distance less its stop distance [m]."""
    geometry.update(np.concatenate([q, other]))
    found = zip(geometry.kinds, geometry.distances(), strict=True)
    return {kind.name: distance - kind.zone.stop for kind, (distance, _) in found}


def make_ik(*, rows=True):
    if not rows:
        return ArmIK(CONFIG)
    beside = DistanceRows(CELL, "left")
    for now in (0.0, 0.01):  # at rest
        beside.see_other(OTHER, now)
    return ArmIK(CONFIG, beside)


def ease(share):
    share = np.clip(share, 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def into_the_table(t):
    """Down to 4 cm below the table, then to and fro."""
    pose, later = CHAIN.fk(HOME), max(t - 1.5, 0.0)
    pose[2, 3] -= 1.3 * pose[2, 3] * ease(t / 1.5)
    pose[:2, 3] += 0.05 * np.sin(1.1 * later), 0.2 * np.sin(1.2 * later)
    return pose


def into_the_other_arm(t):
    """Half a metre to the right, to where the other arm is, then along it."""
    pose, later = CHAIN.fk(HOME), max(t - 2.0, 0.0)
    pose[1, 3] -= 0.55 * ease(t / 2.5)
    pose[0, 3] += 0.1 * np.sin(1.2 * later)
    return pose


def through_the_own_column(t):
    pose = CHAIN.fk(HOME)
    pose[:2, 3] *= 1.0 - 1.6 * np.sin(0.6 * t) ** 2
    return pose


PATHS = [into_the_table, into_the_other_arm, through_the_own_column]


def follow(ik, path, ticks=500):
    """Joints (ticks + 1, n), and whether a row held each tick."""
    ik.seed(HOME)
    joints, bound = [HOME], []
    for tick in range(1, ticks + 1):
        joints.append(ik.step(path(tick * DT), DT).q)
        bound.append(ik.rows is not None and ik.rows.is_bound)
    return np.array(joints), np.array(bound)


@pytest.mark.parametrize("path", PATHS)
def test_an_arm_led_into_something_slides_along_it_without_a_shake(geometry, path):
    joints, bound = follow(make_ik(), path)
    assert min(min(gaps(geometry, q).values()) for q in joints) > -1e-4
    assert bound.mean() > 0.3
    acceleration = np.abs(np.diff(joints, 2, axis=0)).max(axis=1) / DT**2
    held = bound[1:] & bound[:-1]
    assert np.percentile(acceleration[held], 90) < 15.0
    assert np.percentile(acceleration[held], 99) < 20.0
    without, _ = follow(make_ik(rows=False), path)
    assert min(min(gaps(geometry, q).values()) for q in without) < -0.03


def drive(ik, path, ticks=700):
    """Way of the tool [m] behind the filter of the arm, from 3 s on: it has arrived by then."""
    guard = DistanceGuard.of_cell(CELL, "left")
    safety = SafetyFilter(CELL.safety, ARM, guard)
    ik.seed(HOME)
    arm, places = [HOME] * 4, []
    for tick in range(1, ticks + 1):
        now = tick * DT
        guard.see_other(OTHER, now, np.zeros(7))
        q = ik.step(path(now), DT, arm[0]).q
        safety.submit(JointCommand(commander="teleop", position=q, stamp=now), now)
        target = safety.step(now, arm[0]).target
        arm = [*arm[1:], arm[-1] if target is None else target]
        places.append(CHAIN.fk(arm[-1])[:3, 3])
    return float(np.linalg.norm(np.diff(places[300:], axis=0), axis=1).sum())


@pytest.mark.parametrize("path", [into_the_table, into_the_other_arm])
def test_with_rows_the_tool_goes_on_where_the_filter_alone_stops_it(path):
    way, without = drive(make_ik(), path), drive(make_ik(rows=False), path)
    assert way > 0.1
    assert way > 2.0 * without


def test_far_from_everything_the_answers_are_those_of_the_arm_alone():
    def path(t):
        pose = CHAIN.fk(MIDDLE)
        pose[:3, 3] += np.array([0.02, 0.03, 0.03]) * np.sin([1.1 * t, 0.9 * t, 1.3 * t])
        return pose

    np.testing.assert_array_equal(follow(make_ik(), path)[0], follow(make_ik(rows=False), path)[0])


def test_an_arm_that_begins_too_near_comes_no_nearer_and_keeps_its_limits(geometry):
    ik = make_ik(rows=False)
    joints, _ = follow(ik, into_the_table, 150)
    inside = joints[-1]
    assert gaps(geometry, inside)["gripper_table"] < -0.02
    ik = make_ik()
    ik.seed(inside)
    way = [inside, *(ik.step(into_the_table(1.5 + n * DT), DT).q.copy() for n in range(200))]
    assert np.isfinite(way).all()
    assert (np.abs(np.diff(way, axis=0)) <= np.array(CONFIG.speed) * DT + 1e-9).all()
    assert (way >= np.array(CONFIG.lower) - 1e-9).all()
    assert (way <= np.array(CONFIG.upper) + 1e-9).all()
    depth = [gaps(geometry, q)["gripper_table"] for q in way]
    assert min(depth) > depth[0] - 1e-3


def test_an_arm_that_is_unknown_holds_nobody_off():
    ik = make_ik()
    ik.rows.see_other(None, 1.0)
    joints, bound = follow(ik, into_the_other_arm, 250)
    assert not bound.any()
    np.testing.assert_array_equal(joints, follow(make_ik(rows=False), into_the_other_arm, 250)[0])


def test_a_hand_at_rest_is_not_moved_by_an_arm_that_comes_near(geometry):
    ik = make_ik()
    ik.seed(HOME)
    target = ik.tool_pose(HOME)
    for tick in range(200):
        coming = OTHER.copy()
        coming[0] += 0.8 * ease(tick / 150)
        ik.rows.see_other(coming, 0.02 * tick)
        q = ik.step(target, DT).q
    assert np.abs(q - HOME).max() < 0.02


def test_a_target_that_is_no_pose_is_survived_beside_something():
    ik = make_ik()
    follow(ik, into_the_table, 160)
    assert ik.rows.is_bound
    before = ik.q
    assert not ik.step(np.full((4, 4), np.nan), DT).solved
    np.testing.assert_array_equal(ik.q, before)
    assert ik.step(into_the_table(1.6), DT).solved


def test_answers_wait_for_an_arm_that_stands_still():
    ik = make_ik(rows=False)
    ik.seed(MIDDLE)
    far = ik.tool_pose(MIDDLE)
    far[:3, 3] += [0.1, 0.3, 0.1]
    for _ in range(100):
        q = ik.step(far, DT, MIDDLE).q
    lag = np.abs(q - MIDDLE).max()
    assert CONFIG.lead - 1e-6 < lag < CELL.safety.max_step


def test_an_answer_already_too_far_ahead_goes_back_no_faster_than_a_joint_may():
    ik = make_ik(rows=False)
    ik.seed(MIDDLE)
    behind = MIDDLE - 1.0
    q = ik.step(ik.tool_pose(MIDDLE), DT, behind).q
    np.testing.assert_allclose(MIDDLE - q, np.array(CONFIG.speed) * DT, atol=1e-3)
