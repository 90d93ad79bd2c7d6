"""Cameras of the model, each where its view in ``cell.yaml`` says."""

import numpy as np
from numpy.typing import NDArray

from ate_core.camera_config import WORLD_MOUNT, CameraView
from ate_core.geometry import matrix_to_quaternion, quaternion_to_matrix
from ate_sim.world.arm import wxyz
from ate_sim.world.engine import mujoco

Array = NDArray[np.float64]

_OPTICAL = np.diag([1.0, -1.0, -1.0])
"""MuJoCo's camera looks along -z with y up; an optical frame along z with y down."""


def add_camera(spec: mujoco.MjSpec, role: str, view: CameraView) -> None:
    """Add the camera of a role to its mount."""
    if view.mount == WORLD_MOUNT:
        body = spec.worldbody
    else:
        # The gripper's origin is the flange.
        body = spec.body(view.mount.removesuffix("_flange") + "_gripper")
    if view.quaternion:
        quaternion = matrix_to_quaternion(quaternion_to_matrix(view.quaternion) @ _OPTICAL)
    else:
        quaternion = look_at(np.array(view.position), np.array(view.look_at), np.array(view.up))
    body.add_camera(name=role, pos=view.position, quat=wxyz(quaternion), fovy=view.fovy)


def look_at(position: Array, target: Array, up: Array) -> Array:
    """Quaternion xyzw of a camera (looking along -z, y up) at ``position`` facing ``target``."""
    backward = position - target
    backward = backward / np.linalg.norm(backward)
    right = np.cross(up, backward)
    right = right / np.linalg.norm(right)
    return matrix_to_quaternion(np.stack([right, np.cross(backward, right), backward], axis=1))
