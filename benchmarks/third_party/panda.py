"""Kinematics of the Franka Panda, for the scripted experts of every simulator.

Modified Denavit-Hartenberg parameters as published by the maker ("Denavit-Hartenberg parameters",
Franka Control Interface documentation). Only numpy: this module runs beside any simulator.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

JOINTS = 7
A = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
"""Link lengths [m]."""
ALPHA = (0.0, -np.pi / 2, np.pi / 2, np.pi / 2, -np.pi / 2, np.pi / 2, np.pi / 2)
"""Link twists [rad]."""
D = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)
"""Link offsets [m]."""
FLANGE = 0.107
"""Joint 7 to the flange along its z [m]."""
HAND_YAW = -np.pi / 4
"""Rotation of the hand about the flange's z [rad]."""
LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
"""Lower joint limits [rad]."""
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
"""Upper joint limits [rad]."""

DAMPING = 0.02
"""Of the least squares; keeps steps finite at singularities."""
POSTURE_GAIN = 0.05
"""Pull of the redundant axis towards the posture at rest, per iteration."""
ITERATIONS = 60
TOLERANCE = 1e-4
"""Error at which the iteration ends [m, rad]."""


@dataclass(frozen=True)
class Pose:
    """Position [m] and rotation matrix in the world; the tool's z points out of the gripper."""

    position: Vector
    rotation: Vector


@dataclass(frozen=True, kw_only=True)
class Panda:
    """One arm in the world."""

    base: tuple[float, float, float]
    """Position of the base, which stands upright and faces the world's x [m]."""
    tool: float
    """Flange to grasp point along the flange's z [m]."""
    rest: Vector = field(
        default_factory=lambda: np.array([0.0, 0.4, 0.0, -2.0, 0.0, 2.4, np.pi / 4])
    )
    """Posture to which the redundant axis tends [rad]."""

    def forward(self, q: Vector) -> Pose:
        """Pose of the grasp point at joint angles (7,) [rad]."""
        frame = self._frames(q)[-1]
        return Pose(frame[:3, 3], frame[:3, :3])

    def inverse(self, target: Pose, q: Vector) -> Vector:
        """Joint angles (7,) that bring the grasp point to ``target``, near the angles ``q``.

        Damped least squares, dq = J^T (J J^T + d^2 I)^-1 e, with the posture in the null space.
        """
        q = np.array(q, dtype=np.float64)
        for _ in range(ITERATIONS):
            *joints, tip = self._frames(q)
            error = np.r_[
                target.position - tip[:3, 3], rotation_vector(target.rotation @ tip[:3, :3].T)
            ]
            axes = np.stack([joint[:3, 2] for joint in joints])  # (7, 3)
            arms = np.stack([tip[:3, 3] - joint[:3, 3] for joint in joints])
            jacobian = np.vstack([np.cross(axes, arms).T, axes.T])  # (6, 7)
            gain = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + DAMPING**2 * np.eye(6))
            if np.abs(error).max() < TOLERANCE:
                break
            null = np.eye(JOINTS) - gain @ jacobian
            q += gain @ error + POSTURE_GAIN * null @ (self.rest - q)
            q = np.clip(q, LOWER, UPPER)
        return q

    def _frames(self, q: Vector) -> list[Vector]:
        """World transforms of the seven joints and of the grasp point, (4, 4) each."""
        frame, frames = np.eye(4), []
        frame[:3, 3] = self.base
        for a, alpha, d, angle in zip(A, ALPHA, D, q, strict=True):
            frame = frame @ _link(a, alpha, d, angle)
            frames.append(frame)
        return [*frames, frame @ _link(0.0, 0.0, FLANGE + self.tool, HAND_YAW)]


def _link(a: float, alpha: float, d: float, angle: float) -> Vector:
    """RotX(alpha) TransX(a) RotZ(angle) TransZ(d)."""
    ca, sa, cq, sq = np.cos(alpha), np.sin(alpha), np.cos(angle), np.sin(angle)
    return np.array(
        [
            [cq, -sq, 0.0, a],
            [sq * ca, cq * ca, -sa, -d * sa],
            [sq * sa, cq * sa, ca, d * ca],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def rotation_vector(rotation: Vector) -> Vector:
    """Axis times angle (3,) [rad] of a rotation matrix; angles below pi."""
    skew = np.array(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    sine, cosine = np.linalg.norm(skew) / 2, (np.trace(rotation) - 1) / 2
    angle = np.arctan2(sine, cosine)
    return skew / 2 if sine < 1e-9 else skew / (2 * sine) * angle


def rotate(vector: Vector) -> Vector:
    """Rotation matrix of an axis times angle (3,) [rad] (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def tool_down(yaw: float) -> Vector:
    """Rotation of a tool that points down, its x turned by ``yaw`` from the world's [rad]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])
