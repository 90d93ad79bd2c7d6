"""Where the parts of one arm lie in MuJoCo's arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_sim.world.arm import ArmBody
from ate_sim.world.engine import mujoco


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmAddresses:
    """Indices of one arm and its gripper."""

    size: int
    """Joints of the arm's model; an embodiment may lack some."""
    slots: NDArray[np.int64]
    """Place of each joint in the arm's vectors."""
    qpos: NDArray[np.int64]
    """Joint positions."""
    dofs: NDArray[np.int64]
    """Joint velocities."""
    actuators: NDArray[np.int64]
    """Servos."""
    finger_qpos: NDArray[np.int64]
    """Positions of the two fingers."""
    finger_dofs: NDArray[np.int64]
    """Velocities of the two fingers."""
    gripper_actuator: int
    """Drive of the fingers."""
    tool_site: int
    """Site at the grasp point."""
    wrench: slice
    """Force and torque in the sensor array."""

    def full(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (size,) of the joints present; 0 for absent ones."""
        full = np.zeros(self.size)
        full[self.slots] = values
        return full


def find_addresses(model: mujoco.MjModel, arm: ArmBody) -> ArmAddresses:
    """Look up an arm that was built into the model."""
    side = arm.side
    names = [f"{side}_{joint.name}" for joint in arm.chain.joints]
    joints = [model.joint(name) for name in names]
    fingers = [model.joint(f"{side}_finger_{letter}") for letter in "ab"]
    sensor = int(model.sensor(f"{side}_force").adr[0])
    return ArmAddresses(
        size=len(arm.joints),
        slots=np.array(arm.slots, dtype=np.int64),
        qpos=_addresses(joints, "qposadr"),
        dofs=_addresses(joints, "dofadr"),
        actuators=np.array([model.actuator(name).id for name in names]),
        finger_qpos=_addresses(fingers, "qposadr"),
        finger_dofs=_addresses(fingers, "dofadr"),
        gripper_actuator=model.actuator(f"{side}_gripper").id,
        tool_site=model.site(f"{side}_tool").id,
        wrench=slice(sensor, sensor + 6),
    )


def _addresses(joints: Sequence[Any], field: str) -> NDArray[np.int64]:
    return np.array([int(getattr(joint, field)[0]) for joint in joints])
