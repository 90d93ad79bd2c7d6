import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.geometry import rotation_exp, rotation_log, transform
from ate_core.hand_mapping import (
    hand_pose_for_tool_motion,
    operator_mapping,
    tool_pose_for_hand_motion,
)
from ate_teleop.retarget import Retargeter, mean_pose


def random_pose(rng):
    return transform(rotation_exp(rng.normal(0, 1, 3)), rng.normal(0, 0.5, 3))


@pytest.fixture
def mapping():
    cell = load_cell(hardware="sim")
    return operator_mapping(cell.operators["left"], cell.arms["left"])


def random_mapping(rng):
    cell = load_cell()
    rotation = rng.normal(0, 1, 4)
    operator = dataclasses.replace(
        cell.operators["right"],
        scale=float(rng.uniform(0.3, 2)),
        yaw=float(rng.uniform(-3, 3)),
        hand_rotation=tuple(rotation / np.linalg.norm(rotation)),
    )
    return operator_mapping(operator, cell.arms["right"])


def test_engagement_never_moves_the_tool_whatever_the_offset():
    rng = np.random.default_rng(1)
    for _ in range(50):
        retargeter = Retargeter(random_mapping(rng))
        hand, tool = random_pose(rng), random_pose(rng)
        retargeter.engage(hand, tool)
        np.testing.assert_allclose(retargeter.tool_pose(hand), tool, atol=1e-12)


def test_the_inverse_mapping_undoes_the_forward_one():
    rng = np.random.default_rng(2)
    for _ in range(50):
        mapping = random_mapping(rng)
        hand0, tool0, tool = (random_pose(rng) for _ in range(3))
        hand = hand_pose_for_tool_motion(mapping, hand0, tool0, tool)
        back = tool_pose_for_hand_motion(mapping, hand0, tool0, hand)
        np.testing.assert_allclose(back, tool, atol=1e-12)


@pytest.mark.parametrize(
    ("stroke", "expected"),
    [((0, 0.3, 0), (0.3, 0, 0)), ((0.3, 0, 0), (0, -0.3, 0)), ((0, 0, 0.3), (0, 0, 0.3))],
    ids=["forward", "right", "up"],
)
def test_a_tilted_hand_does_not_tilt_straight_strokes(mapping, stroke, expected):
    rng = np.random.default_rng(3)
    for _ in range(20):
        hand0, tool0 = random_pose(rng), random_pose(rng)
        hand = hand0.copy()
        hand[:3, 3] += stroke
        tool = tool_pose_for_hand_motion(mapping, hand0, tool0, hand)
        np.testing.assert_allclose(tool[:3, 3] - tool0[:3, 3], expected, atol=1e-12)
        np.testing.assert_allclose(tool[:3, :3], tool0[:3, :3], atol=1e-12)


def test_turning_the_hand_turns_the_tool_by_the_same_angle_in_place():
    rng = np.random.default_rng(4)
    mapping = random_mapping(rng)
    hand0, tool0 = random_pose(rng), random_pose(rng)
    hand = hand0 @ transform(rotation_exp([0.1, -0.4, 0.2]), np.zeros(3))
    tool = tool_pose_for_hand_motion(mapping, hand0, tool0, hand)
    np.testing.assert_allclose(tool[:3, 3], tool0[:3, 3], atol=1e-12)
    turned = np.linalg.norm(rotation_log(tool0[:3, :3].T @ tool[:3, :3]))
    assert turned == pytest.approx(np.linalg.norm([0.1, -0.4, 0.2]), abs=1e-9)


def test_the_operators_yaw_turns_the_strokes_about_the_vertical():
    cell = load_cell()
    operator = dataclasses.replace(cell.operators["left"], yaw=np.pi / 2)
    mapping = operator_mapping(operator, cell.arms["left"])
    hand = transform(np.eye(3), [0.0, 0.2, 0.0])  # forward, and the operator faces the world's y
    tool = tool_pose_for_hand_motion(mapping, np.eye(4), np.eye(4), hand)
    np.testing.assert_allclose(tool[:3, 3], [0, 0.2, 0], atol=1e-12)


def test_the_mean_of_noisy_poses_lies_nearer_than_one_of_them():
    rng = np.random.default_rng(5)
    truth = random_pose(rng)
    noisy = [
        truth @ transform(rotation_exp(rng.normal(0, 0.006, 3)), rng.normal(0, 0.0007, 3))
        for _ in range(64)
    ]
    mean = mean_pose(noisy)
    assert np.linalg.norm(mean[:3, 3] - truth[:3, 3]) < 0.0004
    assert np.linalg.norm(rotation_log(truth[:3, :3].T @ mean[:3, :3])) < 0.003


def test_the_mapping_costs_no_heavy_import():
    program = (
        "import sys, ate_teleop.retarget; "
        "print(sorted({'pinocchio', 'daqp', 'grpc', 'rclpy'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert answer.stdout.strip() == "[]"
