"""Tool poses followed in the simulated world, by the fast environment and its experts."""

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Side
from ate_core.pose_tracking import PoseTracker
from ate_sim.world.engine import mujoco
from ate_sim.world.sim_world import SimWorld

Array = NDArray[np.float64]


class ToolTracker:
    """Follows tool poses with one arm, each solution starting from the last one."""

    def __init__(self, world: SimWorld, side: Side) -> None:
        """Start from the arm's present posture."""
        self._model = world.model
        self._data = mujoco.MjData(world.model)  # kinematics only; the world is not touched
        self._data.qpos[:] = world.data.qpos
        self._arm = world.arm_addresses(side)
        self._jacobian = np.zeros((6, world.model.nv))
        lower, upper = world.cell.arms[side].bounds()
        present = world.data.qpos[self._arm.qpos].copy()
        self._tracker = PoseTracker(
            self._linearise,
            present,
            present,
            np.array(lower)[self._arm.slots],
            np.array(upper)[self._arm.slots],
        )

    def solve(self, pose: Array) -> Array:
        """Joint positions (n,) [rad] that bring the tool to ``pose`` (4, 4) in the world."""
        return self._arm.full(self._tracker.solve(pose))

    def _linearise(self, q: Array) -> tuple[Array, Array]:
        """Pose (4, 4) and Jacobian (6, n) of the tool, world axes, linear part first."""
        self._data.qpos[self._arm.qpos] = q
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        site = self._arm.tool_site
        mujoco.mj_jacSite(self._model, self._data, self._jacobian[:3], self._jacobian[3:], site)
        pose = np.eye(4)
        pose[:3, :3] = self._data.site_xmat[site].reshape(3, 3)
        pose[:3, 3] = self._data.site_xpos[site]
        return pose, self._jacobian[:, self._arm.dofs]
