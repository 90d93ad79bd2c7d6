"""Rotations, poses and their conversions agree with scipy and with themselves."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ate_core import geometry as g


@pytest.fixture
def rotations():
    rng = np.random.default_rng(1)
    random = list(Rotation.random(50, rng=rng))
    half_turns = [Rotation.from_rotvec(np.pi * axis) for axis in np.eye(3)]
    tiny = [Rotation.from_rotvec([1e-10, 0, 0]), Rotation.identity()]
    return random + half_turns + tiny


def test_quaternions_agree_with_scipy(rotations):
    for rotation in rotations:
        matrix = rotation.as_matrix()
        np.testing.assert_allclose(g.quaternion_to_matrix(rotation.as_quat()), matrix, atol=1e-12)
        back = g.quaternion_to_matrix(g.matrix_to_quaternion(matrix))
        np.testing.assert_allclose(back, matrix, atol=1e-12)


def test_log_and_exp_are_inverse(rotations):
    for rotation in rotations:
        matrix = rotation.as_matrix()
        np.testing.assert_allclose(g.rotation_exp(g.rotation_log(matrix)), matrix, atol=1e-7)
        assert np.linalg.norm(g.rotation_log(matrix)) <= np.pi + 1e-9


def test_pose_and_matrix_are_inverse(rotations):
    for rotation in rotations:
        pose = np.concatenate([[1.0, -2.0, 3.0], g.matrix_to_quaternion(rotation.as_matrix())])
        np.testing.assert_allclose(g.matrix_to_pose(g.pose_to_matrix(pose)), pose, atol=1e-9)


def test_inverse_undoes_a_transform(rotations):
    matrix = g.transform(rotations[3].as_matrix(), [0.3, 0.2, -0.1])
    np.testing.assert_allclose(g.inverse(matrix) @ matrix, np.eye(4), atol=1e-12)


def test_interpolation_starts_and_ends_at_its_ends(rotations):
    a = g.transform(rotations[4].as_matrix(), [0, 0, 0])
    b = g.transform(rotations[5].as_matrix(), [1, 2, 3])
    np.testing.assert_allclose(g.interpolate_pose(a, b, 0.0), a, atol=1e-9)
    np.testing.assert_allclose(g.interpolate_pose(a, b, 1.0), b, atol=1e-9)
    np.testing.assert_allclose(g.interpolate_pose(a, b, 0.5)[:3, 3], [0.5, 1, 1.5])


def test_roll_pitch_yaw_follow_the_fixed_axis_convention():
    rpy = [0.3, -0.4, 1.2]
    expected = Rotation.from_euler("xyz", rpy).as_matrix()
    np.testing.assert_allclose(g.rpy_to_matrix(rpy), expected, atol=1e-12)
