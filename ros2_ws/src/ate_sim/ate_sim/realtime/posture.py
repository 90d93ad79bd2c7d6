"""Where the arms and fingers are, carried over a reset that only places the objects anew."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import SIDES
from ate_sim.world.engine import mujoco
from ate_sim.world.sim_world import SimWorld

PARTS = (*(f"joint{number}" for number in range(1, 8)), "finger_a", "finger_b")
"""Joints of one arm with its gripper in the model, without the side."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Posture:
    """Joint positions and velocities of both arms with their fingers."""

    position: NDArray[np.float64]
    """(18,) left first [rad, fingers m]."""
    velocity: NDArray[np.float64]
    """(18,) [rad/s, fingers m/s]."""

    @classmethod
    def of(cls, world: SimWorld) -> "Posture":
        """Read the posture of a world."""
        positions, velocities = _addresses(world)
        return cls(
            position=world.data.qpos[positions].copy(), velocity=world.data.qvel[velocities].copy()
        )

    def restore(self, world: SimWorld) -> None:
        """Give a world, of this or another task, this posture."""
        positions, velocities = _addresses(world)
        world.data.qpos[positions] = self.position
        world.data.qvel[velocities] = self.velocity
        mujoco.mj_forward(world.model, world.data)


def _addresses(world: SimWorld) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    joints = [world.model.joint(f"{side}_{part}") for side in SIDES for part in PARTS]
    return (
        np.array([joint.qposadr[0] for joint in joints]),
        np.array([joint.dofadr[0] for joint in joints]),
    )
