"""The simulated world of one task: physics, servo targets, measurements, score."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.arm_model import Embodiment
from ate_core.contract import SIDES, Cell, Side, load_cell
from ate_core.devices import POSE_SIZE
from ate_core.errors import UsageError
from ate_core.geometry import transform
from ate_sim.world.addresses import ArmAddresses, find_addresses
from ate_sim.world.appearance import USUAL, Appearance
from ate_sim.world.arm import GRIP_FORCE, STROKE, arm_body, wxyz
from ate_sim.world.cell import build_cell
from ate_sim.world.distractors import add_distractors, draw_distractors, put_away
from ate_sim.world.engine import mujoco
from ate_sim.world.perturbations import AFTER_STAGE, Difficulty, Perturbation

Array = NDArray[np.float64]
DIFFICULTIES: tuple[Difficulty, ...] = ("normal", "hard")

GRIPPER_SPEED = 364.0 / 255.0
"""Opening ratio per second at full speed (OmniPicker: 364 counts/s)."""

_SETTLING_TIME = 0.3  # [s] after a reset, so that objects lie still when an episode begins
_SCORE_PERIOD = 0.1  # [s]
_STATE_KIND = (
    mujoco.mjtState.mjSTATE_PHYSICS
    | mujoco.mjtState.mjSTATE_TIME  # a flickering light needs it
    | mujoco.mjtState.mjSTATE_MOCAP_POS
    | mujoco.mjtState.mjSTATE_MOCAP_QUAT
)


@dataclass
class _GripperDrive:
    """Motion of one gripper's target; ratios."""

    target: float = 1.0
    command: float = 1.0
    speed: float = 1.0


def check_difficulty(name: str) -> Difficulty:
    """Return the difficulty of this name.

    Raises:
        UsageError: there is no such difficulty.
    """
    for difficulty in DIFFICULTIES:
        if name == difficulty:
            return difficulty
    raise UsageError(f"difficulty is {name!r}; use one of {', '.join(DIFFICULTIES)}")


class Scene(Protocol):
    """The objects on the table: what they are, where they start, how well they lie."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def object_names(self) -> tuple[str, ...]:
        """Bodies whose poses are observed, in this order."""

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the objects to the model."""

    def sample(self, rng: np.random.Generator, radius: float) -> dict[str, Array]:
        """Draw start poses (7,) by body name; ``radius`` [m] is the spread of each object."""

    def score(self, world: "SimWorld") -> float:
        """Grade the present state, 0..1; 1 is success."""


class SimWorld:
    """Two arms, their grippers and the objects of one scene.

    Deterministic: one seed and one sequence of calls give bit-identical states.
    """

    def __init__(
        self,
        scene: Scene,
        embodiment: Embodiment | None = None,
        timestep: float = 0.002,
        cell: Cell | None = None,
        looks: Appearance = USUAL,
    ) -> None:
        """Build the model and reset it with seed 0.

        Args:
            scene: the objects, for instance a task.
            embodiment: body of both arms; those of the cell when None.
            timestep: physics step [s]; 2 ms and 4 ms hold a grasp.
            cell: its arms and cameras; the packaged one when None.
            looks: colours and light.
        """
        self.scene = scene
        self.cell = cell or load_cell(hardware="sim")
        bodies = [arm_body(side, self.cell.arms[side], embodiment) for side in SIDES]
        self.chains = {side: body.chain for side, body in zip(SIDES, bodies, strict=True)}
        """Base to flange of each arm."""
        spec = build_cell(timestep, bodies, self.cell.cameras, looks)
        self.scene.build(spec)
        add_distractors(spec)
        self.model: mujoco.MjModel = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.object_names: tuple[str, ...] = self.scene.object_names
        self._arms = {
            side: find_addresses(self.model, body)
            for side, body in zip(SIDES, bodies, strict=True)
        }
        self._home = {
            side: np.array(self.cell.arms[side].home)[arm.slots]
            for side, arm in self._arms.items()
        }
        self._bodies = {name: self.model.body(name).id for name in self.object_names}
        self.reset(0)

    @property
    def time(self) -> float:
        """Simulated time since the last reset [s]."""
        return float(self.data.time)

    @property
    def timestep(self) -> float:
        """Physics step [s]."""
        return float(self.model.opt.timestep)

    def reset(
        self,
        seed: int,
        difficulty: Difficulty = "normal",
        perturbation: Perturbation | None = None,
    ) -> None:
        """Put arms at home and objects at the places that ``seed`` draws.

        Args:
            seed: of the start, and of what a perturbation draws.
            difficulty: spread of the starts, where the perturbation says nothing of it.
            perturbation: what differs from a usual start; None: nothing.
        """
        self.perturbation = perturbation or Perturbation()
        """What differs from a usual start."""
        difficulty = check_difficulty(self.perturbation.difficulty or difficulty)
        mujoco.mj_resetData(self.model, self.data)
        rng = np.random.default_rng([seed, int(difficulty == "hard")])
        self._starts = self.scene.sample(rng, 0.065 if difficulty == "hard" else 0.035)
        self._place(self._starts)
        is_littered = self.perturbation.distractors
        self._place(draw_distractors(seed, self._starts) if is_littered else put_away())
        self._patience = np.random.default_rng([seed, 3]).uniform(*AFTER_STAGE)
        self._stage_at: float | None = None
        self.disturbed_at: float | None = None
        """When the objects were put back in this episode [s]; None: they were not."""
        self._grippers = {side: _GripperDrive() for side in SIDES}
        for side, arm in self._arms.items():
            self.set_gripper_target(side, 1.0)
            self.data.qpos[arm.qpos] = self._home[side]
            self.data.ctrl[arm.actuators] = self._home[side]
            self.data.qpos[arm.finger_qpos] = STROKE / 2
            self.data.ctrl[arm.gripper_actuator] = STROKE
        mujoco.mj_step(self.model, self.data, nstep=round(_SETTLING_TIME / self.timestep))
        self.data.time = 0.0
        mujoco.mj_forward(self.model, self.data)
        self._best_score = 0.0
        self._next_score = 0.0

    def step(self, count: int = 1) -> None:
        """Advance by ``count`` physics steps with the present targets."""
        block = max(1, round(0.01 / self.timestep))  # fingers' target moves in 10 ms pieces
        while count > 0:
            steps = min(count, block)
            self._advance_grippers(steps * self.timestep)
            mujoco.mj_step(self.model, self.data, nstep=steps)
            count -= steps
        if self.data.time >= self._next_score:
            self._best_score = max(self._best_score, self.scene.score(self))
            self._next_score = self.data.time + _SCORE_PERIOD
            if self.perturbation.disturbance and self.disturbed_at is None:
                self._disturb()

    def set_arm_target(self, side: Side, q: ArrayLike) -> None:
        """Set the servo target (n,) [rad]; takes effect at the next step."""
        target = np.asarray(q, dtype=np.float64)
        arm, chain = self._arms[side], self.chains[side]
        if target.shape != (arm.size,):
            raise UsageError(f"arm target has shape {target.shape}, must be ({arm.size},)")
        self.data.ctrl[arm.actuators] = np.clip(target[arm.slots], chain.lower, chain.upper)

    def set_gripper_target(
        self, side: Side, ratio: float, force: float = 1.0, speed: float = 1.0
    ) -> None:
        """Set the opening to move to.

        Args:
            side: which gripper.
            ratio: 0 closed .. 1 open.
            force: share of the largest grip force.
            speed: share of the device's speed.
        """
        drive = self._grippers[side]
        drive.target = float(np.clip(ratio, 0.0, 1.0))
        drive.speed = float(np.clip(speed, 0.0, 1.0))
        limit = GRIP_FORCE * float(np.clip(force, 0.0, 1.0))
        self.model.actuator_forcerange[self._arms[side].gripper_actuator] = [-limit, limit]

    def arm_q(self, side: Side) -> Array:
        """Joint positions (n,) [rad]; 0 for a joint this embodiment lacks."""
        arm = self._arms[side]
        return arm.full(self.data.qpos[arm.qpos])

    def arm_qd(self, side: Side) -> Array:
        """Joint velocities (n,) [rad/s]."""
        arm = self._arms[side]
        return arm.full(self.data.qvel[arm.dofs])

    def arm_torque(self, side: Side) -> Array:
        """Torques the motors give (n,) [N m], with the share that carries the arm's weight."""
        arm = self._arms[side]
        return arm.full(self.data.qfrc_actuator[arm.dofs] + self.data.qfrc_gravcomp[arm.dofs])

    def wrench(self, side: Side) -> Array:
        """Force [N] and torque [N m] (6,) on the flange, in the axes of the tool frame.

        What the gripper and the world behind it exert on the arm; the gripper's weight included.
        No component goes beyond the range of the arm's sensor.
        """
        # MuJoCo reports what the arm exerts on the gripper.
        wrench: Array = -self.data.sensordata[self._arms[side].wrench]
        return wrench

    def gripper(self, side: Side) -> float:
        """Opening, 0 closed .. 1 open."""
        fingers = self.data.qpos[self._arms[side].finger_qpos]
        return float(np.clip(fingers.sum() / STROKE, 0.0, 1.0))

    def gripper_force(self, side: Side) -> float:
        """Grip force as a share of the largest."""
        return abs(self._drive_force(side)) / GRIP_FORCE

    def gripper_blocked(self, side: Side) -> bool:
        """Whether an object stops the fingers: far from the target, pushing, not moving."""
        error = abs(self._grippers[side].command - self.gripper(side))
        speed = float(np.abs(self.data.qvel[self._arms[side].finger_dofs]).sum())
        return error > 0.03 and abs(self._drive_force(side)) > 1.0 and speed < 0.01

    def arm_addresses(self, side: Side) -> ArmAddresses:
        """Indices of one arm in the arrays of ``model`` and ``data``."""
        return self._arms[side]

    def object_pose(self, name: str) -> Array:
        """Pose (7,) of one object in the world, xyz xyzw."""
        body = self._bodies[name]
        w, x, y, z = self.data.xquat[body]
        return np.array([*self.data.xpos[body], x, y, z, w])

    def object_poses(self) -> Array:
        """Poses (n, 7) in the world, in the order of ``object_names``."""
        return np.stack([self.object_pose(name) for name in self.object_names])

    def joint_position(self, name: str) -> float:
        """Position of a joint of the task's objects [rad or m]."""
        return float(self.data.joint(name).qpos[0])

    def tool_pose(self, side: Side) -> Array:
        """Transform (4, 4) from the grasp point to the world."""
        site = self._arms[side].tool_site
        return transform(self.data.site_xmat[site].reshape(3, 3), self.data.site_xpos[site])

    def score(self) -> float:
        """Graded result 0..1: the best stage reached since the reset."""
        self._best_score = max(self._best_score, self.scene.score(self))
        return self._best_score

    def success(self) -> bool:
        """Whether the task is done now."""
        return self.scene.score(self) >= 1.0

    def physics_state(self) -> Array:
        """All that a renderer needs (n,)."""
        state = np.empty(mujoco.mj_stateSize(self.model, _STATE_KIND))
        mujoco.mj_getState(self.model, self.data, state, _STATE_KIND)
        return state

    def load_physics_state(self, state: Array) -> None:
        """Take a state from :meth:`physics_state` and place bodies and cameras, for drawing."""
        mujoco.mj_setState(self.model, self.data, state, _STATE_KIND)
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def _place(self, poses: Mapping[str, Array]) -> None:
        for name, pose in poses.items():
            body = self.model.body(name)
            mocap = int(body.mocapid[0])
            if mocap >= 0:
                self.data.mocap_pos[mocap] = pose[:3]
                self.data.mocap_quat[mocap] = wxyz(pose[3:])
            else:
                start = int(self.model.joint(name).qposadr[0])
                self.data.qpos[start : start + POSE_SIZE] = [*pose[:3], *wxyz(pose[3:])]

    def _disturb(self) -> None:
        """Put back what was moved, when the first stage has been reached for long enough."""
        if self._stage_at is None and self._best_score > 0.0:
            self._stage_at = self.time
        if self._stage_at is None or self.time < self._stage_at + self._patience:
            return
        if self.success():
            return
        self._place(self._starts)
        for name in self._starts:
            if int(self.model.body(name).mocapid[0]) < 0:
                start = int(self.model.joint(name).dofadr[0])
                self.data.qvel[start : start + 6] = 0.0
        mujoco.mj_forward(self.model, self.data)
        self.disturbed_at = self.time

    def _advance_grippers(self, dt: float) -> None:
        for side, drive in self._grippers.items():
            reach = drive.speed * GRIPPER_SPEED * dt
            drive.command += min(max(drive.target - drive.command, -reach), reach)
            self.data.ctrl[self._arms[side].gripper_actuator] = drive.command * STROKE

    def _drive_force(self, side: Side) -> float:
        return float(self.data.actuator_force[self._arms[side].gripper_actuator])
