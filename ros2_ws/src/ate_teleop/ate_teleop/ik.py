"""Differential inverse kinematics of one arm: a QP in a box per tick, by pinocchio and DAQP.

What is solved stands in `pose_qp.py`. The box is the intersection of the position limits with the
speed limits times the step.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pinocchio as pin
from numpy.typing import ArrayLike, NDArray

from ate_core.arm_model import ArmModel, load_arm_model
from ate_core.contract import SafetyConfig
from ate_core.devices import DEFAULT_MODEL, ArmConfig
from ate_core.errors import ContractError, UsageError
from ate_teleop.distance_rows import DistanceRows
from ate_teleop.pose_qp import PoseCost, PoseQP

Array = NDArray[np.float64]
_NEAR = 1e-6
"""Distance from a bound that counts as none [rad]."""
_STILL = 1e-12
"""Squared step that counts as none [rad^2]."""
_AXES_OF_BASE = pin.ReferenceFrame.LOCAL_WORLD_ALIGNED


@dataclass(frozen=True, kw_only=True)
class IkConfig:
    """Limits and weights of the solver for one arm."""

    model: str = DEFAULT_MODEL
    """Name or YAML file of the arm's model."""
    lower: tuple[float, ...]
    """Smallest angles commanded (n) [rad]."""
    upper: tuple[float, ...]
    """Largest angles commanded (n) [rad]."""
    speed: tuple[float, ...]
    """Largest speeds commanded (n) [rad/s]."""
    rest: tuple[float, ...]
    """Posture the free degree of freedom is pulled to (n) [rad]."""
    tool_length: float
    """Flange to tool along the flange's z [m]."""
    cost: PoseCost = field(default_factory=PoseCost)
    """What the solver weighs against the pose error."""
    lead: float = 0.32
    """How far an answer may be ahead of a measured joint [rad]."""
    recovery_speed: float = 0.3
    """Speed at which a joint found outside its limits is led back [rad/s]."""
    paced: bool = False
    """Whether the tool goes slower on its way where a joint would be too slow; else the others
    make up for it as well as they can, at up to their own full speed for a millimetre."""

    def __post_init__(self) -> None:
        for name in ("upper", "speed", "rest"):
            if len(getattr(self, name)) != len(self.lower):
                raise UsageError(
                    f"ik {name} has {len(getattr(self, name))} entries, lower has "
                    f"{len(self.lower)}; need one per joint"
                )
        if any(low > high for low, high in zip(self.lower, self.upper, strict=True)):
            raise UsageError(f"ik limits cross: lower {self.lower}, upper {self.upper}")


SLACK = 1e-3
"""Distance kept inside the safety filter's own limits: its clamp must never act [rad]."""


def arm_ik_config(arm: ArmConfig, safety: SafetyConfig) -> IkConfig:
    """The limits that the cell gives, kept just inside those of the safety filter."""
    lower, upper = arm.bounds(safety.position_margin)
    return IkConfig(
        model=arm.model,
        lower=tuple(limit + SLACK for limit in lower),
        upper=tuple(limit - SLACK for limit in upper),
        speed=tuple(0.98 * min(limit, safety.max_joint_speed) for limit in arm.joint_speed),
        rest=arm.home,
        lead=0.9 * safety.max_step,
        tool_length=arm.tool_length,
    )


class IkResult(NamedTuple):
    """One tick's answer."""

    q: Array
    """Joint target (n,), not to be written to [rad]."""
    position_error: float
    """Distance between target and answer [m]."""
    rotation_error: float
    """Angle between target and answer [rad]."""
    at_limit: tuple[int, ...]
    """Joints (from 0) held by a position limit."""
    at_speed: tuple[int, ...]
    """Joints (from 0) held by a speed limit."""
    solved: bool
    """Whether the solver succeeded; if not, q is the seed."""


class ArmIK:
    """Follows a tool target tick by tick, from the last commanded posture."""

    def __init__(self, config: IkConfig, rows: DistanceRows | None = None) -> None:
        """Build the solver of an arm.

        Args:
            config: limits and weights.
            rows: distances that it keeps; None: it knows of nothing around the arm.
        """
        self._config = config
        model = load_arm_model(config.model)
        self.rows = rows
        """Distances that it keeps."""
        self._model = _arm_alone(model)
        joints = self._model.nq
        if joints != len(config.lower):
            raise ContractError(
                f"the URDF of {model.name} has {joints} joint angles, the limits name "
                f"{len(config.lower)}: give those of this arm"
            )
        self._tool = _add_tool(self._model, model.tip, config.tool_length)
        self._data, self._spare_data = self._model.createData(), self._model.createData()
        pose = self._data.oMf[self._tool]
        self._position, self._rotation = pose.translation, pose.rotation  # views: they follow it
        self._limits = np.array([config.lower, config.upper])
        self._speed = np.array(config.speed)
        self._rest = np.array(config.rest)
        self._qp = PoseQP(config.cost, joints)
        self._velocity, self._from_rest = self._qp.velocity, self._qp.from_rest
        self._midway = np.zeros(joints)
        self._offset, self._twist = self._qp.error[:3], self._qp.error[3:]
        self._rotation_weight = config.cost.rotation_weight
        self._rotated = np.empty((3, 3))
        self._box, self._floor, self._ceiling = np.empty((3, 2, joints))
        self._dt = 0.0
        self.seed(np.clip(self._rest, *self._limits))

    @property
    def q(self) -> Array:
        """Last answer or seed (n,) [rad]."""
        return self._q.copy()

    def seed(self, q: ArrayLike) -> None:
        """Start from a measured posture (n,) [rad]; it may lie outside the limits."""
        q = np.array(q, dtype=np.float64)
        if q.shape != self._rest.shape or not np.isfinite(q).all():
            raise UsageError(f"ik seed is {q}; need {self._rest.size} finite angles")
        self._velocity[:] = self._midway[:] = self._squared_step = 0.0
        if self.rows is not None:
            self.rows.start(q)
        self._place(q)

    def tool_pose(self, q: ArrayLike) -> Array:
        """Transform (4, 4) from the tool to the base at a posture (n,) [rad]."""
        data = self._spare_data
        pin.framesForwardKinematics(self._model, data, np.asarray(q, dtype=np.float64))
        return np.array(data.oMf[self._tool].homogeneous)

    def step(self, target: Array, dt: float, measured: Array | None = None) -> IkResult:
        """Move towards `target` (4, 4) tool to base for one tick of `dt` [s].

        Args:
            target: tool to base.
            dt: length of the tick.
            measured: joints (n,) [rad] of an arm that lags; the answer waits for it.
        """
        start, goal, rows = self._q, (target[:3, 3], target[:3, :3]), self.rows
        if rows is not None:
            rows.look(start)
        box = self._bound(start, dt)
        if measured is not None:
            self._wait_for(measured, start)
        self._compare(*goal)
        # The Jacobian in the middle of the way, as far as that is known: a step along it is exact
        # to one more order.
        jacobian = pin.computeFrameJacobian(
            self._model, self._spare_data, start + self._midway, self._tool, _AXES_OF_BASE
        )
        np.subtract(start, self._rest, self._from_rest)
        reach = self._speed * dt if self._config.paced else None
        answer = self._qp.solve(jacobian, dt, box, rows, reach)
        step, held = answer or (np.zeros_like(start), [])
        self._expect(step, dt)
        self._place(start + step)
        self._compare(*goal)
        return self._report(held, answer is not None)

    def _expect(self, step: Array, dt: float) -> None:
        """Expect of the next tick as much of this one's motion as this had of the last one's.

        A hand that moves smoothly makes it nearly all, noise makes it nothing.
        """
        squared = step.dot(step).item()
        alike = step.dot(self._velocity).item() * dt
        share = max(alike, 0.0) / max(squared, self._squared_step, _STILL)
        self._squared_step = squared
        np.multiply(step, 0.5 * share, self._midway)
        np.multiply(step, 1.0 / dt, self._velocity)

    def _bound(self, start: Array, dt: float) -> Array:
        """Bounds (2, n) of this tick's motion; lower <= upper even from outside the limits."""
        if dt != self._dt:
            self._dt = dt
            reach = self._speed * dt
            recovery = np.minimum(self._config.recovery_speed * dt, reach)
            self._floor[:] = -reach, -recovery
            self._ceiling[:] = recovery, reach
        np.subtract(self._limits, start, self._box)
        np.maximum(self._box, self._floor, out=self._box)
        np.minimum(self._box, self._ceiling, out=self._box)
        box: Array = self._box
        return box

    def _wait_for(self, measured: Array, start: Array) -> None:
        """Let no joint go further ahead of an arm that something slows than a command may be."""
        lower, upper = self._box
        ahead = np.clip(measured - start - self._config.lead, lower, upper)
        behind = np.clip(measured - start + self._config.lead, lower, upper)
        lower[:], upper[:] = ahead, behind

    def _place(self, q: Array) -> None:
        """Make `q` (n,) the present posture, with its tool pose."""
        pin.forwardKinematics(self._model, self._data, q)
        pin.updateFramePlacement(self._model, self._data, self._tool)
        q.flags.writeable = False
        self._q = q

    def _compare(self, place: Array, turn: Array) -> None:
        """Take the error of the present pose to a place (3,) and rotation (3, 3) of the base."""
        np.subtract(self._position, place, self._offset)
        np.dot(self._rotation, turn.T, self._rotated)
        np.multiply(pin.log3(self._rotated), self._rotation_weight, self._twist)

    def _report(self, held: list[int], solved: bool) -> IkResult:
        x, y, z, a, b, c = self._qp.error.tolist()
        position, rotation = math.hypot(x, y, z), math.hypot(a, b, c) / self._rotation_weight
        if not held:
            return IkResult(self._q, position, rotation, (), (), solved)
        at_limit = tuple([joint for joint in held if self._is_at_limit(joint)])
        at_speed = tuple([joint for joint in held if joint not in at_limit])
        return IkResult(self._q, position, rotation, at_limit, at_speed, solved)

    def _is_at_limit(self, joint: int) -> bool:
        lower, upper = self._config.lower[joint], self._config.upper[joint]
        return not lower + _NEAR < self._q.item(joint) < upper - _NEAR


def _arm_alone(model: ArmModel) -> pin.Model:
    """The arm's own joints: others of the URDF, as a gripper's behind the tip, stay at zero."""
    whole = pin.buildModelFromXML(model.urdf)
    others = [whole.getJointId(name) for name in whole.names[1:] if name not in model.joints]
    return pin.buildReducedModel(whole, others, pin.neutral(whole))


def _add_tool(model: pin.Model, tip: str, length: float) -> int:
    """Number of a new frame `length` [m] along the tip's z."""
    flange = model.getFrameId(tip)
    placement = model.frames[flange].placement * pin.SE3(np.eye(3), np.array([0.0, 0.0, length]))
    wrist = model.frames[flange].parentJoint
    number: int = model.addFrame(
        pin.Frame("tool", wrist, flange, placement, pin.FrameType.OP_FRAME)
    )
    return number
