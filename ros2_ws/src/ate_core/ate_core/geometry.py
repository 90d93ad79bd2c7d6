"""Rigid transforms. Quaternions are xyzw; poses are [x, y, z, qx, qy, qz, qw]."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core import rotation_floats

Array = NDArray[np.float64]


def quaternion_to_matrix(quaternion: ArrayLike) -> Array:
    """Rotation matrix (3, 3) of a quaternion xyzw, which is normalised first."""
    q = np.asarray(quaternion, dtype=np.float64)
    x, y, z, w = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def matrix_to_quaternion(rotation: ArrayLike) -> Array:
    """Quaternion xyzw with w >= 0 of a rotation matrix (3, 3)."""
    r = np.asarray(rotation, dtype=np.float64)
    return np.array(rotation_floats.quaternion_of(r.ravel().tolist()))


def pose_to_matrix(pose: ArrayLike) -> Array:
    """Transform (4, 4) of a pose (7,)."""
    p = np.asarray(pose, dtype=np.float64)
    matrix = np.eye(4)
    matrix[:3, :3] = quaternion_to_matrix(p[3:])
    matrix[:3, 3] = p[:3]
    return matrix


def matrix_to_pose(matrix: ArrayLike) -> Array:
    """Pose (7,) of a transform (4, 4)."""
    m = np.asarray(matrix, dtype=np.float64)
    return np.concatenate([m[:3, 3], matrix_to_quaternion(m[:3, :3])])


def rpy_to_matrix(rpy: ArrayLike) -> Array:
    """Rotation (3, 3) of fixed-axis roll, pitch, yaw [rad]: Rz(yaw) Ry(pitch) Rx(roll)."""
    roll, pitch, yaw = np.asarray(rpy, dtype=np.float64)
    return (rotation_exp([0.0, 0.0, yaw]) @ rotation_exp([0.0, pitch, 0.0])) @ rotation_exp(
        [roll, 0.0, 0.0]
    )


def transform(rotation: ArrayLike, translation: ArrayLike) -> Array:
    """Transform (4, 4) of a rotation (3, 3) and a translation (3,) [m]."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def inverse(matrix: ArrayLike) -> Array:
    """Inverse of a rigid transform (4, 4)."""
    m = np.asarray(matrix, dtype=np.float64)
    return transform(m[:3, :3].T, -m[:3, :3].T @ m[:3, 3])


def rotation_exp(vector: ArrayLike) -> Array:
    """Rotation (3, 3) about ``vector`` by its length [rad]."""
    v = np.asarray(vector, dtype=np.float64)
    return np.array(rotation_floats.exp(v.tolist())).reshape(3, 3)


def rotation_log(rotation: ArrayLike) -> Array:
    """Rotation vector (3,) [rad] of a rotation matrix, with length in [0, pi]."""
    r = np.asarray(rotation, dtype=np.float64)
    return np.array(rotation_floats.log(r.ravel().tolist()))


def interpolate_pose(start: ArrayLike, end: ArrayLike, fraction: float) -> Array:
    """Transform (4, 4) between two: straight line in position, shortest arc in rotation."""
    a = np.asarray(start, dtype=np.float64)
    b = np.asarray(end, dtype=np.float64)
    arc = rotation_log(a[:3, :3].T @ b[:3, :3])
    position = (1 - fraction) * a[:3, 3] + fraction * b[:3, 3]
    return transform(a[:3, :3] @ rotation_exp(fraction * arc), position)
