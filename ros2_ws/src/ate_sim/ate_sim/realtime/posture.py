"""Where the arms and fingers are, carried over a reset that only places the objects anew."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import SIDES
from ate_sim.world.engine import mujoco
from ate_sim.world.sim_world import SimWorld


@dataclass(frozen=True, kw_only=True, eq=False)
class Posture:
    """Joint positions and velocities of both arms with their fingers."""

    position: NDArray[np.float64]
    """Left arm and fingers first [rad, m]."""
    velocity: NDArray[np.float64]
    """In the same order [rad/s, m/s]."""

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
    arms = [world.arm_addresses(side) for side in SIDES]
    return (
        np.concatenate([part for arm in arms for part in (arm.qpos, arm.finger_qpos)]),
        np.concatenate([part for arm in arms for part in (arm.dofs, arm.finger_dofs)]),
    )
