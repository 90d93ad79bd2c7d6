import numpy as np
import pytest

from ate_core.geometry import rotation_exp
from ate_policy.tool_space import (
    Poses,
    from_tool_chunks,
    to_tool_chunks,
    tool_arms,
    tool_layout,
    tool_poses,
)
from ate_sim.embodiments import bodies_of


@pytest.fixture
def walk(cell):
    """A slow random walk of both arms around home, (12, D)."""
    rng = np.random.default_rng(0)
    home = np.full(cell.layout.action.size, 0.4)
    return home + rng.normal(0.0, 0.05, (12, len(home))).cumsum(axis=0)


def windows(ticks=12, horizon=4):
    return np.minimum(np.arange(ticks)[:, None] + np.arange(horizon), ticks - 1)


def test_chunks_are_measured_from_the_measured_pose_in_base_axes(cell, walk):
    arm = tool_arms(cell)["right"]
    commanded, start = tool_poses(arm, walk), tool_poses(arm, walk - 0.01)
    chunks = to_tool_chunks(commanded, walk[:, arm.gripper], start, windows())
    first, third = start.positions[3], commanded.positions[5]
    np.testing.assert_allclose(chunks[3, 2, :3], third - first, atol=1e-6)
    turned = rotation_exp(chunks[3, 2, 3:6].astype(float)) @ start.rotations[3]
    np.testing.assert_allclose(turned, commanded.rotations[5], atol=1e-6)
    assert chunks[3, 2, 6] == pytest.approx(walk[5, arm.gripper], abs=1e-6)


def test_poses_come_back_from_chunks(cell, walk):
    arm = tool_arms(cell)["left"]
    commanded, start = tool_poses(arm, walk), tool_poses(arm, walk - 0.02)
    chunks = to_tool_chunks(commanded, walk[:, arm.gripper], start, windows())
    positions, rotations, gripper = from_tool_chunks(chunks, start)
    np.testing.assert_allclose(positions, commanded.positions[windows()], atol=1e-6)
    np.testing.assert_allclose(rotations, commanded.rotations[windows()], atol=1e-6)
    np.testing.assert_allclose(gripper, walk[:, arm.gripper][windows()], atol=1e-6)


def test_a_turn_beyond_a_right_angle_has_no_wrap():
    turns = np.stack([rotation_exp([0.0, angle, 0.0]) for angle in np.linspace(0, 3.0, 7)])
    poses = Poses(positions=np.zeros((7, 3)), rotations=turns)
    start = Poses(positions=np.zeros((1, 3)), rotations=turns[:1])
    chunk = to_tool_chunks(poses, np.zeros(7), start, np.arange(7)[None])[0]
    np.testing.assert_allclose(chunk[:, 4], np.linspace(0, 3.0, 7), atol=1e-6)
    np.testing.assert_allclose(chunk[:, [3, 5]], 0.0, atol=1e-6)


def test_bodies_have_the_kinematics_of_their_own(cell, walk):
    body = bodies_of(cell)["six_axes_long"]
    ours, theirs = tool_arms(cell)["left"], tool_arms(cell, body)["left"]
    assert len(theirs.joints) == len(ours.joints) - 1
    walk[:, list(set(ours.joints) - set(theirs.joints))] = 0.0
    own, other = tool_poses(ours, walk), tool_poses(theirs, walk)
    assert np.abs(own.positions - other.positions).max() > 0.02
    joint = next(iter(set(ours.joints) - set(theirs.joints)))
    moved = walk.copy()
    moved[:, joint] = 0.3  # a joint that this body lacks
    np.testing.assert_array_equal(tool_poses(theirs, moved).positions, other.positions)


def test_numbers_of_a_tick_are_named_left_before_right():
    layout = tool_layout(("left", "right"))
    assert layout.size == 14
    positions = [f"left_tool_position_{index}" for index in (1, 2, 3)]
    assert layout.names[:4] == (*positions, "left_tool_rotation_1")
    assert layout.units[6] == "ratio" and layout.names[13] == "right_gripper"
