import dataclasses

import numpy as np
import pytest

from ate_core.arm_model import load_arm_model, tool_chain
from ate_core.contract import load_cell
from ate_core.errors import ContractError, UsageError
from ate_core.geometry import rotation_exp, transform
from ate_teleop.ik import ArmIK, arm_ik_config

DT = 1 / 90
ELBOW = load_arm_model().joints.index("joint4")
MIDDLE = np.array([0.1, 0.2, 0.0, 1.75, 0.1, 1.1, 0.0])


@pytest.fixture(scope="module")
def cell():
    return load_cell()


@pytest.fixture
def ik(cell):
    return ArmIK(arm_ik_config(cell.arms["left"], cell.safety))


def follow(ik, start, target, ticks):
    """Run `target(time)`; returns joints (ticks + 1, 7) and the results."""
    ik.seed(start)
    results = [ik.step(target(k * DT), DT) for k in range(1, ticks + 1)]
    return np.array([start, *(result.q for result in results)]), results


def accelerations(joints):
    return np.abs(np.diff(joints, 2, axis=0) / DT**2).max(axis=1)


def assert_within_limits(ik, joints):
    config = ik_config(ik)
    assert (joints >= np.array(config.lower) - 1e-9).all()
    assert (joints <= np.array(config.upper) + 1e-9).all()
    assert (np.abs(np.diff(joints, axis=0)) <= np.array(config.speed) * DT + 1e-9).all()


def ik_config(ik):
    cell = load_cell()
    return arm_ik_config(cell.arms["left"], cell.safety)


def test_the_tool_pose_agrees_with_the_description(ik, cell):
    tool = transform(np.eye(3), [0, 0, cell.arms["left"].tool_length])
    chain = load_arm_model().chain().with_tip(tool)
    rng = np.random.default_rng(0)
    for _ in range(20):
        q = rng.uniform(-2, 2, 7)
        np.testing.assert_allclose(ik.tool_pose(q), chain.fk(q), atol=1e-9)


def test_a_smooth_path_is_followed_to_a_tenth_of_a_millimetre(ik):
    start = ik.tool_pose(MIDDLE)

    def target(t):
        pose = start.copy()
        ramp = min(t, 1.0)
        wave = np.sin([1.1 * t, 0.9 * t, 1.3 * t])
        pose[:3, 3] += ramp * np.array([0.03, 0.08, 0.04]) * wave
        pose[:3, :3] = pose[:3, :3] @ rotation_exp(ramp * np.array([0.2, 0.15, 0.3]) * wave)
        return pose

    joints, results = follow(ik, MIDDLE, target, 1800)
    assert max(result.position_error for result in results) < 1e-4
    assert max(result.rotation_error for result in results) < 1e-3
    assert all(result.solved for result in results)
    assert_within_limits(ik, joints)


def test_an_unreachable_target_is_approached_without_chatter(ik):
    start = ik.tool_pose(MIDDLE)

    def target(t):
        pose = start.copy()
        tremor = 0.002 * np.array([np.sin(9 * t), np.cos(8 * t), 0.0])
        pose[:3, 3] += min(t / 2.0, 1.0) * np.array([0.5, 0.0, 0.1]) + tremor
        return pose

    joints, results = follow(ik, MIDDLE, target, 1350)
    assert results[-1].position_error > 0.05
    assert ELBOW in results[-1].at_limit
    assert np.percentile(accelerations(joints[270:]), 99) < 20.0
    assert_within_limits(ik, joints)


@pytest.mark.parametrize("seed", range(12))
def test_no_joint_chatters_past_the_reach_in_any_direction(ik, seed):
    start = ik.tool_pose(MIDDLE)
    away, turn = np.random.default_rng(seed).normal(size=(2, 3))
    away[2] = abs(away[2]) / 2

    def target(t):
        pose, share = start.copy(), min(t / 2.0, 1.0)
        tremor = 0.002 * np.array([np.sin(9 * t), np.cos(8 * t), 0.0])
        pose[:3, 3] += share * 0.8 * away / np.linalg.norm(away) + tremor
        pose[:3, :3] = pose[:3, :3] @ rotation_exp(share * 0.4 * turn)
        return pose

    joints, results = follow(ik, MIDDLE, target, 450)
    assert results[-1].position_error > 0.05
    assert np.percentile(accelerations(joints[270:]), 99) < 20.0


def test_a_target_that_is_no_pose_moves_nothing(ik):
    ik.seed(MIDDLE)
    result = ik.step(np.full((4, 4), np.nan), DT)
    assert not result.solved
    np.testing.assert_array_equal(result.q, MIDDLE)
    assert ik.step(ik.tool_pose(MIDDLE), DT).solved


def test_wrist_and_shoulder_singularities_are_passed(ik):
    def target(t):
        q = MIDDLE.copy()
        q[1] = 0.3 * np.cos(0.8 * t)  # upper arm through the vertical
        q[4] += 0.3 * np.sin(t)
        q[5] = 0.5 * np.cos(1.5 * t)  # wrist through straight
        return ik.tool_pose(q)

    start = MIDDLE.copy()
    start[1], start[5] = 0.3, 0.5
    joints, results = follow(ik, start, target, 1200)
    assert np.percentile([result.position_error for result in results], 99) < 0.002
    assert_within_limits(ik, joints)


def test_targets_beyond_a_joint_limit_hold_that_joint_at_it(ik):
    config = ik_config(ik)
    q = MIDDLE.copy()
    q[3] = config.upper[3] + 0.15
    goal = ik.tool_pose(q)
    joints, results = follow(ik, MIDDLE, lambda _: goal, 300)
    assert_within_limits(ik, joints)
    assert results[-1].at_limit
    assert np.percentile(accelerations(joints[200:]), 99) < 5.0


def test_a_jump_of_the_target_becomes_a_motion_at_the_speed_limit(ik):
    pose = ik.tool_pose(MIDDLE)
    pose[:3, 3] += [0.05, -0.1, 0.05]
    joints, results = follow(ik, MIDDLE, lambda _: pose, 200)
    assert results[0].at_speed
    assert results[-1].position_error < 1e-4
    assert_within_limits(ik, joints)


@pytest.mark.parametrize(("joint", "angle"), [(ELBOW, 0.0), (6, 6.28)])
def test_an_arm_found_outside_its_limits_is_led_back_slowly(ik, joint, angle):
    config = ik_config(ik)
    outside = MIDDLE.copy()
    outside[joint] = angle
    pose = ik.tool_pose(outside)
    joints, results = follow(ik, outside, lambda _: pose, 90)
    assert np.abs(np.diff(joints[:, joint])).max() <= config.recovery_speed * DT + 1e-9
    assert config.lower[joint] - 1e-9 <= joints[-1, joint] <= config.upper[joint] + 1e-9
    assert all(result.solved for result in results)


def test_the_elbow_settles_where_the_rest_posture_wants_it(ik, cell):
    rest = np.array(cell.arms["left"].home)
    goal = ik.tool_pose(rest)
    away = rest.copy()
    away[[0, 2]] += [0.3, -0.3]  # upper arm turned, so the tool is near but the elbow is out
    _, results = follow(ik, away, lambda _: goal, 900)
    assert results[-1].position_error < 2e-4
    assert np.abs(results[-1].q - rest).max() < 0.05


def test_a_seed_that_is_no_posture_is_refused(ik):
    with pytest.raises(UsageError, match="7 finite"):
        ik.seed([float("nan")] * 7)


def test_an_arm_of_six_joints_follows_a_path_within_its_limits():
    cell = load_cell("six_axis")
    arm = cell.arms["left"]
    config = arm_ik_config(arm, cell.safety)
    ik = ArmIK(config)
    start = ik.tool_pose(arm.home)
    np.testing.assert_allclose(start, tool_chain(arm).fk(arm.home), atol=1e-9)

    def target(t):
        pose = start.copy()
        pose[:3, 3] += [0.12 * np.sin(t) ** 2, 0.08 * np.sin(1.3 * t), -0.03 * np.sin(t)]
        return pose

    joints, results = follow(ik, np.array(arm.home), target, 180)
    assert joints.shape == (181, 6)
    assert max(result.position_error for result in results) < 1e-3
    assert max(result.rotation_error for result in results) < 2e-3
    assert (joints >= np.array(config.lower) - 1e-9).all()
    assert (np.abs(np.diff(joints, axis=0)) <= np.array(config.speed) * DT + 1e-9).all()


def test_an_arm_of_six_joints_out_of_reach_stays_at_the_edge_with_a_bent_elbow():
    cell = load_cell("six_axis")
    arm = cell.arms["left"]
    ik = ArmIK(arm_ik_config(arm, cell.safety))
    far = ik.tool_pose(arm.home)
    far[:3, 3] += [1.0, 0.0, 0.3]
    joints, _ = follow(ik, np.array(arm.home), lambda t: far, 400)
    assert joints[:, arm.joint_names.index("left_joint3")].min() >= 0.1
    assert np.abs(np.diff(joints[-30:], axis=0)).max() < 1e-3


def test_limits_of_another_arm_are_refused(cell):
    seven = arm_ik_config(cell.arms["left"], cell.safety)
    with pytest.raises(ContractError, match="six_axis has 6 joint angles, the limits name 7"):
        ArmIK(dataclasses.replace(seven, model="six_axis"))
    with pytest.raises(UsageError, match="ik rest has 6 entries, lower has 7"):
        dataclasses.replace(seven, rest=(0.0,) * 6)
    with pytest.raises(UsageError, match="need 7 finite angles"):
        ArmIK(seven).seed(np.zeros(6))
