"""Ours, Pink and mink behind one interface: the same arm, limits, weights and QP solver.

Each solves one tick from its own last answer. Pink and mink solve the same cost: the pose error
with 1 for a metre and the rotation weight for a radian, and a posture task of our weight whose
gain is a tick's part of our pull per second. Their limits are ours, met in one tick (gain 1).
"""

import importlib
import logging
from typing import Any, Protocol

import mujoco
import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from ate_core.arm_model import load_arm_model
from ate_core.contract import Cell
from ate_core.geometry import transform
from ate_teleop.distance_rows import DistanceRows
from ate_teleop.ik import ArmIK, IkConfig

Array = NDArray[np.float64]

SECOND = 0.02
"""Time between two measurements of the other arm [s]."""
LEAST_DAMPING = 1e-6
"""Tikhonov weight of Pink and mink; theirs of 1e-12 leaves a singular posture to rounding."""


class Follower(Protocol):
    """Something that follows a tool target tick by tick."""

    name: str

    def seed(self, q: Array) -> None:
        """Start from a posture (n,) [rad]."""

    def prepare(self, target: Array) -> Any:
        """The target (4, 4) in the form that the library takes; not timed."""

    def step(self, target: Any) -> Array:
        """Follow a prepared target for one tick; joints (n,) [rad]."""


class Ours:
    """The solver of the operators, where it may make up for slow joints as the others do.

    Operators themselves go slower on their way (`IkConfig.paced`).
    """

    name = "ours"

    def __init__(self, config: IkConfig, dt: float) -> None:
        self._ik, self._dt = ArmIK(config), dt

    def seed(self, q: Array) -> None:
        """Start from a posture (n,) [rad]."""
        self._ik.seed(q)

    def prepare(self, target: Array) -> Array:
        """The target as it is."""
        return target

    def step(self, target: Array) -> Array:
        """Follow for one tick."""
        return self._ik.step(target, self._dt).q


class Beside(Ours):
    """The same with the distances that operators have, beside the other arm at home."""

    name = "beside"

    def __init__(self, config: IkConfig, dt: float, cell: Cell, side: str) -> None:
        self._dt = dt
        self.rows = DistanceRows(cell, side)
        for other, arm in cell.arms.items():
            if other != side:
                for now in (0.0, SECOND):  # two make a velocity: none
                    self.rows.see_other(arm.home, now)
        self._ik = ArmIK(config, self.rows)


class Pink:
    """`pip install pin-pink`."""

    name = "pink"

    def __init__(self, config: IkConfig, dt: float) -> None:
        self._pink = importlib.import_module("pink")
        tasks = importlib.import_module("pink.tasks")
        limits = importlib.import_module("pink.limits")
        logging.getLogger().setLevel(logging.ERROR)  # one warning per tick near a limit
        self._dt = dt
        self._model = _pinocchio_model(config)
        self._limits = [
            limits.ConfigurationLimit(self._model, config_limit_gain=1.0),
            limits.VelocityLimit(self._model),
        ]
        self._frame = tasks.FrameTask(
            "tool", position_cost=1.0, orientation_cost=config.cost.rotation_weight
        )
        posture = tasks.PostureTask(
            cost=config.cost.posture_weight**0.5, gain=config.cost.posture_gain * dt
        )
        posture.set_target(np.array(config.rest))
        self._tasks = [self._frame, posture]
        self.seed(np.array(config.rest))

    def seed(self, q: Array) -> None:
        """Start from a posture (n,) [rad]."""
        self._configuration = self._pink.Configuration(
            self._model, self._model.createData(), q.copy()
        )

    def prepare(self, target: Array) -> Any:
        """As Pinocchio's type."""
        return pin.SE3(target)

    def step(self, target: Any) -> Array:
        """Follow for one tick."""
        self._frame.set_target(target)
        velocity = self._pink.solve_ik(
            self._configuration,
            self._tasks,
            self._dt,
            solver="daqp",
            damping=LEAST_DAMPING,
            limits=self._limits,
            safety_break=False,
        )
        self._configuration.integrate_inplace(velocity, self._dt)
        q: Array = self._configuration.q
        return q


class Mink:
    """`pip install mink`."""

    name = "mink"

    def __init__(self, config: IkConfig, dt: float) -> None:
        self._mink = mink = importlib.import_module("mink")
        self._dt = dt
        model = _mujoco_model(config)
        self._configuration = mink.Configuration(model)
        names = [model.joint(index).name for index in range(model.njnt)]
        self._limits = [
            mink.ConfigurationLimit(model, gain=1.0),
            mink.VelocityLimit(model, dict(zip(names, config.speed, strict=True))),
        ]
        self._frame = mink.FrameTask(
            "tool", "site", position_cost=1.0, orientation_cost=config.cost.rotation_weight
        )
        posture = mink.PostureTask(
            model, cost=config.cost.posture_weight**0.5, gain=config.cost.posture_gain * dt
        )
        posture.set_target(np.array(config.rest))
        self._tasks = [self._frame, posture]

    def seed(self, q: Array) -> None:
        """Start from a posture (n,) [rad]."""
        self._configuration.update(q)

    def prepare(self, target: Array) -> Any:
        """As mink's type."""
        return self._mink.SE3.from_matrix(target)

    def step(self, target: Any) -> Array:
        """Follow for one tick."""
        self._frame.set_target(target)
        velocity = self._mink.solve_ik(
            self._configuration,
            self._tasks,
            self._dt,
            solver="daqp",
            damping=LEAST_DAMPING,
            limits=self._limits,
        )
        self._configuration.integrate_inplace(velocity, self._dt)
        q: Array = self._configuration.q
        return q


FOLLOWERS: tuple[type[Follower], ...] = (Ours, Pink, Mink)


def _pinocchio_model(config: IkConfig) -> Any:
    arm = load_arm_model(config.model)
    whole = pin.buildModelFromXML(arm.urdf)
    others = [whole.getJointId(name) for name in whole.names[1:] if name not in arm.joints]
    model = pin.buildReducedModel(whole, others, pin.neutral(whole))
    tip = model.frames[model.getFrameId(arm.tip)]
    tool = pin.SE3(np.eye(3), np.array([0.0, 0.0, config.tool_length]))
    model.addFrame(
        pin.Frame("tool", tip.parentJoint, tip.placement * tool, pin.FrameType.OP_FRAME)
    )
    model.lowerPositionLimit = np.array(config.lower)
    model.upperPositionLimit = np.array(config.upper)
    model.velocityLimit = np.array(config.speed)
    return model


def _mujoco_model(config: IkConfig) -> Any:
    """The arm's joints as bodies without shape."""
    chain = load_arm_model(config.model).chain()
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    body = spec.worldbody
    for joint, lower, upper in zip(chain.joints, config.lower, config.upper, strict=True):
        body = body.add_body(mass=1.0, inertia=[1e-2] * 3, explicitinertial=True)
        body.pos, body.quat = joint.origin[:3, 3], _wxyz(joint.origin)
        body.add_joint(
            name=joint.name,
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=joint.axis,
            range=[lower, upper],
            limited=True,
        )
    tool = chain.tip @ transform(np.eye(3), [0.0, 0.0, config.tool_length])
    body.add_site(name="tool", pos=tool[:3, 3], quat=_wxyz(tool))
    return spec.compile()


def _wxyz(pose: Array) -> Array:
    """MuJoCo's quaternion of a transform (4, 4)."""
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, pose[:3, :3].ravel())
    return quaternion
