"""Rigid transforms. Quaternions are xyzw; poses are [x, y, z, qx, qy, qz, qw]."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    # Four candidates; the one with the largest pivot loses no digits (Shepperd, 1978).
    pivots = np.array([r[0, 0], r[1, 1], r[2, 2], np.trace(r)])
    best = int(np.argmax(pivots))
    q = np.empty(4)
    if best == 3:
        q[3] = 1 + pivots[3]
        q[:3] = [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]
    else:
        i, j, k = best, (best + 1) % 3, (best + 2) % 3
        q[i] = 1 + r[i, i] - r[j, j] - r[k, k]
        q[j] = r[j, i] + r[i, j]
        q[k] = r[k, i] + r[i, k]
        q[3] = r[k, j] - r[j, k]
    q /= np.linalg.norm(q)
    return -q if q[3] < 0 else q


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
    angle = float(np.linalg.norm(v))
    x, y, z = v
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-8:  # second-order series: the next term is below double precision
        a, b = 1.0, 0.5
    else:
        a, b = np.sin(angle) / angle, (1 - np.cos(angle)) / (angle * angle)
    rotation: Array = np.eye(3) + a * k + b * k @ k
    return rotation


def rotation_log(rotation: ArrayLike) -> Array:
    """Rotation vector (3,) [rad] of a rotation matrix, with length in [0, pi]."""
    q = matrix_to_quaternion(rotation)
    sine = float(np.linalg.norm(q[:3]))
    if sine < 1e-12:
        return np.zeros(3)
    angle: float = 2.0 * np.arctan2(sine, q[3])
    vector: Array = q[:3] * (angle / sine)
    return vector


def interpolate_pose(start: ArrayLike, end: ArrayLike, fraction: float) -> Array:
    """Transform (4, 4) between two: straight line in position, shortest arc in rotation."""
    a = np.asarray(start, dtype=np.float64)
    b = np.asarray(end, dtype=np.float64)
    arc = rotation_log(a[:3, :3].T @ b[:3, :3])
    position = (1 - fraction) * a[:3, 3] + fraction * b[:3, 3]
    return transform(a[:3, :3] @ rotation_exp(fraction * arc), position)
