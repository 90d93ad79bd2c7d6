"""Differential inverse kinematics of one arm: a QP in a box, by pinocchio and DAQP.

With e the pose error of the tool (linear first, axes of the base), J its Jacobian, W weights,

    min  1/2 |W (J dq - e)|^2 + 1/2 (mu + c |W e|^2) |dq|^2 + 1/2 w |dq - dq_rest|^2
    s.t. lower <= dq <= upper

The box is the intersection of the position limits with the speed limits times the step. The
damping grows with the error (after Sugihara, "Solvability-unconcerned inverse kinematics", T-RO
2011): without it the elbow chatters at full speed when the target is out of reach. dq_rest is a
slow pull to a resting posture that decides what the pose leaves free.
"""

import math
from dataclasses import dataclass

import daqp
import numpy as np
import pinocchio as pin
from numpy.typing import ArrayLike, NDArray

from ate_core.arm_model import ArmModel, load_arm_model
from ate_core.contract import SafetyConfig
from ate_core.devices import DEFAULT_MODEL, ArmConfig
from ate_core.errors import ContractError, UsageError

Array = NDArray[np.float64]
_SOLVED = 1
"""DAQP's exit flag for an optimal solution."""


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
    rotation_weight: float = 0.3
    """Metres of error that one radian of error is worth [m/rad]."""
    damping: float = 1e-6
    """Damping at no error, mu."""
    error_damping: float = 5.0
    """Damping per squared weighted error, c; cures the chatter out of reach [1/m^2]."""
    posture_weight: float = 1e-4
    """Weight of the pull to the rest posture, w."""
    posture_gain: float = 1.0
    """Speed of the pull per distance [1/s]."""
    posture_speed: float = 0.3
    """Largest speed of the pull; a faster one switches back and forth [rad/s]."""
    recovery_speed: float = 0.3
    """Speed at which a joint found outside its limits is led back [rad/s]."""
    max_iterations: int = 2
    """QPs per tick."""
    good_error: float = 2e-4
    """Weighted error at which no further QP is solved in this tick [m]."""

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
        tool_length=arm.tool_length,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class IkResult:
    """One tick's answer."""

    q: Array
    """Joint target (n,) [rad]."""
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

    def __init__(self, config: IkConfig) -> None:
        """Build the solver of an arm."""
        self._config = config
        model = load_arm_model(config.model)
        self._model = _arm_alone(model)
        joints = self._model.nq
        if joints != len(config.lower):
            raise ContractError(
                f"the URDF of {model.name} has {joints} joint angles, the limits name "
                f"{len(config.lower)}: give those of this arm"
            )
        self._no_rows = np.zeros((0, joints))
        self._no_sense = np.zeros(joints, dtype=np.int32)
        flange = self._model.getFrameId(model.tip)
        wrist = self._model.frames[flange].parentJoint
        tool = pin.SE3(np.eye(3), np.array([0.0, 0.0, config.tool_length]))
        placement = self._model.frames[flange].placement * tool
        self._tool = self._model.addFrame(
            pin.Frame("tool", wrist, flange, placement, pin.FrameType.OP_FRAME)
        )
        self._data = self._model.createData()
        self._lower = np.array(config.lower)
        self._upper = np.array(config.upper)
        self._speed = np.array(config.speed)
        self._rest = np.array(config.rest)
        w = config.rotation_weight
        self._weights = np.array([1.0, 1.0, 1.0, w, w, w])
        self._place(np.clip(self._rest, self._lower, self._upper))

    @property
    def q(self) -> Array:
        """Last answer or seed (n,) [rad]."""
        return self._q.copy()

    def seed(self, q: ArrayLike) -> None:
        """Start from a measured posture (n,) [rad]; it may lie outside the limits."""
        q = np.asarray(q, dtype=np.float64)
        if q.shape != self._rest.shape or not np.isfinite(q).all():
            raise UsageError(f"ik seed is {q}; need {self._rest.size} finite angles")
        self._place(q.copy())

    def tool_pose(self, q: ArrayLike) -> Array:
        """Transform (4, 4) from the tool to the base at a posture (n,) [rad]."""
        pin.framesForwardKinematics(self._model, self._data, np.asarray(q, dtype=np.float64))
        return np.array(self._data.oMf[self._tool].homogeneous)

    def step(self, target: Array, dt: float) -> IkResult:
        """Move towards `target` (4, 4) tool to base for one tick of `dt` [s]."""
        start = self._q
        lower, upper = self._box(start, dt)
        error = self._error(target)
        solved = True
        for _ in range(self._config.max_iterations):
            dq = self._solve(error, start, lower, upper, dt)
            if dq is None:
                self._place(start)
                error, solved = self._error(target), False
                break
            # Clipped again, because the solver's own tolerance is 1e-6.
            self._place(start + np.clip(self._q + dq - start, lower, upper))
            error = self._error(target)
            weighted = error * self._weights
            if float(weighted @ weighted) < self._config.good_error**2:
                break
        return self._report(start, error, solved, dt)

    def _box(self, start: Array, dt: float) -> tuple[Array, Array]:
        """Bounds (n,) of this tick's motion; lower <= upper even from outside the limits."""
        reach = self._speed * dt
        recovery = np.minimum(self._config.recovery_speed * dt, reach)
        return (
            np.clip(self._lower - start, -reach, recovery),
            np.clip(self._upper - start, -recovery, reach),
        )

    def _place(self, q: Array) -> None:
        """Make `q` (n,) the present posture, with its tool pose and Jacobian (6, n)."""
        # These three calls, in this order: computeFrameJacobian leaves joint placements stale.
        pin.computeJointJacobians(self._model, self._data, q)
        pose = pin.updateFramePlacement(self._model, self._data, self._tool)
        self._jacobian = pin.getFrameJacobian(
            self._model, self._data, self._tool, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )
        # Copies: the solver's data changes below them.
        self._position, self._rotation = pose.translation.copy(), pose.rotation.copy()
        self._q = q

    def _error(self, target: Array) -> Array:
        """Pose error (6,) of the present posture, along the base's axes."""
        error = np.empty(6)
        error[:3] = target[:3, 3] - self._position
        error[3:] = pin.log3(target[:3, :3] @ self._rotation.T)
        return error

    def _solve(
        self, error: Array, start: Array, lower: Array, upper: Array, dt: float
    ) -> Array | None:
        """Step (n,) of one QP from the present posture, or None when the solver fails."""
        config = self._config
        weighted_error = error * self._weights
        weighted_jacobian = self._jacobian * self._weights[:, None]
        rest_speed = np.clip(
            config.posture_gain * (self._rest - start), -config.posture_speed, config.posture_speed
        )
        done = self._q - start
        rest_step = rest_speed * dt - done
        damping = config.damping + config.error_damping * float(weighted_error @ weighted_error)
        hessian = weighted_jacobian.T @ weighted_jacobian
        hessian.flat[:: len(hessian) + 1] += damping + config.posture_weight
        gradient = -(weighted_jacobian.T @ weighted_error) - config.posture_weight * rest_step
        dq, _, flag, _ = daqp.solve(
            hessian, gradient, self._no_rows, upper - done, lower - done, self._no_sense
        )
        return dq if flag == _SOLVED and np.isfinite(dq).all() else None

    def _report(self, start: Array, error: Array, solved: bool, dt: float) -> IkResult:
        near, q = 1e-6, self._q
        limited = (q <= self._lower + near) | (q >= self._upper - near)
        fast = (np.abs(q - start) >= self._speed * dt - near) & ~limited
        return IkResult(
            q=q.copy(),
            position_error=math.hypot(*error[:3].tolist()),
            rotation_error=math.hypot(*error[3:].tolist()),
            at_limit=_indices(limited),
            at_speed=_indices(fast),
            solved=solved,
        )


def _arm_alone(model: ArmModel) -> pin.Model:
    """The arm's own joints: others of the URDF, as a gripper's behind the tip, stay at zero."""
    whole = pin.buildModelFromXML(model.urdf)
    others = [whole.getJointId(name) for name in whole.names[1:] if name not in model.joints]
    return pin.buildReducedModel(whole, others, pin.neutral(whole))


def _indices(flags: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(flags).tolist())
