"""Damped least-squares inverse kinematics for the fast environment and its experts."""

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Side
from ate_core.geometry import rotation_log
from ate_sim.world.engine import mujoco
from ate_sim.world.sim_world import SimWorld

Array = NDArray[np.float64]

_ITERATIONS = 4
_DAMPING = 0.02  # [m], [rad]
_DAMPING_GROWTH = 0.5  # damping per unit of error: beyond the reach it stops the elbow's chatter
_ACCURACY = 2e-4  # [m], [rad]
_LARGEST_STEP = 0.25  # per iteration [rad]
_POSTURE_PULL = 0.02  # share of the way to the home posture per iteration


class ToolTracker:
    """Follows tool poses with one arm, each solution starting from the last one."""

    def __init__(self, world: SimWorld, side: Side) -> None:
        """Start from the arm's present posture."""
        self._model = world.model
        self._data = mujoco.MjData(world.model)  # kinematics only; the world is not touched
        self._data.qpos[:] = world.data.qpos
        self._arm = world.arm_addresses(side)
        self._q = world.data.qpos[self._arm.qpos].copy()
        self._rest = self._q.copy()
        lower, upper = world.cell.arms[side].bounds()
        self._lower = np.array(lower)[self._arm.slots]
        self._upper = np.array(upper)[self._arm.slots]
        self._jacobian = np.zeros((6, world.model.nv))

    def solve(self, pose: Array) -> Array:
        """Joint positions (n,) [rad] that bring the tool to ``pose`` (4, 4) in the world."""
        for iteration in range(_ITERATIONS):
            error, jacobian = self._linearise(pose)
            if iteration > 0 and np.abs(error).max() < _ACCURACY:
                break
            damping = _DAMPING + _DAMPING_GROWTH * float(error @ error)
            # dq = J^T (J J^T + d^2 I)^-1 e + (I - J^# J) k (q_rest - q)
            inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + damping**2 * np.eye(6))
            pull = _POSTURE_PULL * (self._rest - self._q)
            step = inverse @ (error - jacobian @ pull) + pull
            step *= min(1.0, _LARGEST_STEP / max(float(np.abs(step).max()), 1e-9))
            self._q = np.clip(self._q + step, self._lower, self._upper)
        return self._arm.full(self._q)

    def _linearise(self, pose: Array) -> tuple[Array, Array]:
        """Error (6,) and Jacobian (6, n) of the tool, world axes, linear part first."""
        self._data.qpos[self._arm.qpos] = self._q
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        site = self._arm.tool_site
        mujoco.mj_jacSite(self._model, self._data, self._jacobian[:3], self._jacobian[3:], site)
        rotation = self._data.site_xmat[site].reshape(3, 3)
        error = np.concatenate(
            [pose[:3, 3] - self._data.site_xpos[site], rotation_log(pose[:3, :3] @ rotation.T)]
        )
        return error, self._jacobian[:, self._arm.dofs]
