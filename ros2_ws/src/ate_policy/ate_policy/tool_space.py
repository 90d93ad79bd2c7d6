"""Chunks of one arm as motion of its tool, comparable between bodies.

From the measured pose (p_s, R_s) at the chunk's start, a commanded pose (p_a, R_a) is

    p_a - p_s            [m], along the axes of the arm's base
    log(R_a R_s^T)       [rad], rotation vector about the same axes: no wrap of Euler angles

and the gripper stays as it is. Poses come from the forward kinematics of the body that moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ate_core.arm_model import Embodiment, load_arm_model, tool_chain
from ate_core.contract import Cell
from ate_core.geometry import transform
from ate_core.kinematics import SerialChain
from ate_core.layout import Field, VectorLayout

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ToolArm:
    """One arm of a body, and where its numbers lie in the cell's vectors."""

    chain: SerialChain
    """From the base to the grasp point."""
    joints: tuple[int, ...]
    """Columns of the chain's joints."""
    gripper: int
    """Column of the gripper."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Poses:
    """Poses of a tool over ticks, in the arm's base frame."""

    positions: Array
    """(T, 3) [m]."""
    rotations: Array
    """(T, 3, 3) from the tool to the base."""


def tool_arms(cell: Cell, body: Embodiment | None = None) -> Mapping[str, ToolArm]:
    """Arms of a cell, or of a body that is made from them, by side."""
    layout, arms = cell.layout.action, {}
    for side, arm in cell.arms.items():
        model = load_arm_model(arm.model)
        chain = tool_chain(arm)
        if body is not None:
            tool = transform(np.eye(3), [0.0, 0.0, arm.tool_length])
            chain = model.chain(body).with_tip(tool)
        first = layout.slice(f"{side}_arm").start
        arms[side] = ToolArm(
            chain=chain,
            joints=tuple(first + model.joints.index(joint.name) for joint in chain.joints),
            gripper=layout.slice(f"{side}_gripper").start,
        )
    return arms


def tool_layout(sides: tuple[str, ...]) -> VectorLayout:
    """Names and units of a tick of all arms, one after the other."""
    return VectorLayout(
        fields=tuple(
            Field(name=f"{side}_{name}", unit=unit, size=size)
            for side in sides
            for name, unit, size in (
                ("tool_position", "m", 3),
                ("tool_rotation", "rad", 3),
                ("gripper", "ratio", 1),
            )
        )
    )


def tool_poses(arm: ToolArm, rows: NDArray[np.floating]) -> Poses:
    """Poses of the tool in each of the cell's vectors (T, D)."""
    frames = np.stack([arm.chain.fk(row) for row in rows[:, list(arm.joints)]])
    return Poses(positions=frames[:, :3, 3], rotations=frames[:, :3, :3])


def to_tool_chunks(
    commanded: Poses, gripper: NDArray[np.floating], start: Poses, windows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Chunks (N, H, 7) of one arm.

    Args:
        commanded: Of all ticks.
        gripper: (T,) commanded.
        start: Measured at the start of each chunk, N of them.
        windows: (N, H) ticks of each chunk.
    """
    moved = commanded.positions[windows] - start.positions[:, None]
    turned = commanded.rotations[windows] @ np.swapaxes(start.rotations, 1, 2)[:, None]
    vectors = Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_rotvec().reshape(moved.shape)
    chunks = np.concatenate([moved, vectors, gripper[windows][..., None]], axis=-1)
    return chunks.astype(np.float32)


def from_tool_chunks(chunks: NDArray[np.floating], start: Poses) -> tuple[Array, Array, Array]:
    """The inverse: positions (N, H, 3), rotations (N, H, 3, 3), grippers (N, H)."""
    values = chunks.astype(np.float64)
    turned = Rotation.from_rotvec(values[..., 3:6].reshape(-1, 3)).as_matrix()
    turned = turned.reshape(*values.shape[:2], 3, 3)
    positions = values[..., :3] + start.positions[:, None]
    return positions, turned @ start.rotations[:, None], values[..., 6]
