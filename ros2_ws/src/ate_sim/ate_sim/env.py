"""The fast, in-process environment: one call per tick, faster than real time."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.arm_model import Embodiment
from ate_core.contract import SIDES, Cell, Side, load_cell
from ate_core.errors import UsageError
from ate_core.observation import Observation
from ate_core.safety import JointCommand, SafetyFilter
from ate_sim.experts import Expert
from ate_sim.ik import ToolTracker
from ate_sim.motion_plan import ExpertConfig
from ate_sim.tasks import load_task
from ate_sim.tasks.task import Task
from ate_sim.tick_timing import TickTiming
from ate_sim.world.appearance import USUAL, Appearance
from ate_sim.world.perturbations import Difficulty, Perturbation
from ate_sim.world.renderer import CellRenderer
from ate_sim.world.sim_world import SimWorld

Array = NDArray[np.float64]


_LAG = 0.2
"""Time after its plan in which an expert's arms come to rest [s]."""


class CellEnv:
    """The cell without its devices' protocols, for many rollouts."""

    def __init__(
        self,
        task: str | Task,
        cell: Cell | None = None,
        *,
        seed: int = 0,
        embodiment: Embodiment | None = None,
        cameras: Sequence[str] = (),
        image_size: tuple[int, int] | None = (72, 128),
        timestep: float = 0.002,
        looks: Appearance = USUAL,
    ) -> None:
        """Build the world and reset it.

        Args:
            task: name of a task, or the task.
            cell: the contract; the packaged one when None.
            seed: of the first episode.
            embodiment: body of both arms; those of the cell when None.
            cameras: keys of the cameras in observations, for instance ``cam_high``.
            image_size: height and width of their images [pixels]; None: each camera's own.
            timestep: physics step [s].
            looks: colours and light.
        """
        self.cell = cell or load_cell(hardware="sim")
        self.cell.require_tick_rate()
        known = {
            camera.key: (camera.height, camera.width) for camera in self.cell.cameras.values()
        }
        for key in cameras:
            if key not in known:
                raise UsageError(f"camera is {key!r}; use one of {', '.join(known)}")
        self.task = load_task(task) if isinstance(task, str) else task
        self.world = SimWorld(self.task, embodiment, timestep, self.cell, looks)
        self.cameras = tuple(cameras)
        self._image_sizes = {key: image_size or known[key] for key in cameras}
        self.period = 1.0 / self.cell.tick_rate
        """Time between two ticks [s]."""
        self._timing = TickTiming(
            tick_rate=self.cell.tick_rate,
            stream_rate=self.cell.rates.arm_stream,
            timestep=self.world.timestep,
        )
        self._layout = self.cell.layout.action
        self._renderer = CellRenderer(self.world)
        self.reset(seed)

    @property
    def instruction(self) -> str:
        """What to do, in words."""
        return self.task.instruction

    def reset(
        self,
        seed: int,
        difficulty: Difficulty = "normal",
        perturbation: Perturbation | None = None,
    ) -> Observation:
        """Start the episode of ``seed``, as :meth:`SimWorld.reset` does."""
        self.world.reset(seed, difficulty, perturbation)
        self._tick = 0
        self._steps = 0
        self.refusals = 0
        """Commands of this episode that the safety filter refused."""
        self._filters = {side: self._make_filter(side) for side in SIDES}
        for side, safety in self._filters.items():
            safety.step(0.0, self.world.arm_q(side))
        return self.observe()

    def step(self, action: ArrayLike) -> Observation:
        """Command an action (n,), advance by one tick and observe.

        The action passes the safety filter of the drivers, which plays targets back about one
        tick later and refuses those that jump or are not finite: the arm then holds.
        """
        parts = self._layout.unpack(np.asarray(action, dtype=np.float64))
        now = self._tick * self.period
        for side, safety in self._filters.items():
            command = JointCommand(commander="env", position=parts[f"{side}_arm"], stamp=now)
            self.refusals += not safety.submit(command, now).accepted
            opening = float(parts[f"{side}_gripper"][0])
            if np.isfinite(opening):
                self.world.set_gripper_target(side, opening)
        for offset in self._timing.stream_offsets(self._tick):
            for side, safety in self._filters.items():
                output = safety.step(now + offset, self.world.arm_q(side))
                if output.target is not None:
                    self.world.set_arm_target(side, output.target)
            self._advance_to(self._timing.steps_at(now + offset))
        self._tick += 1
        self._advance_to(self._timing.steps_at(self._tick * self.period))
        return self.observe()

    def observe(self) -> Observation:
        """What a policy sees now."""
        state = self._layout.pack(
            {
                **{f"{side}_arm": self.world.arm_q(side) for side in SIDES},
                **{f"{side}_gripper": np.array([self.world.gripper(side)]) for side in SIDES},
            }
        )
        return Observation(
            state=np.asarray(state, dtype=np.float32),
            images={key: self.render(key, *size) for key, size in self._image_sizes.items()},
            environment=self.world.object_poses().astype(np.float32),
            instruction=self.instruction,
            stamp_ns=round(self._tick * self.period * 1e9),
        )

    def render(self, key: str, height: int, width: int) -> NDArray[np.uint8]:
        """Image (height, width, 3) RGB of the camera with this key."""
        return self._renderer.render(key, height, width)

    def overview(self, height: int, width: int) -> NDArray[np.uint8]:
        """Image (height, width, 3) RGB of the cell's first camera, to watch an episode."""
        return self.render(next(iter(self.cell.cameras)), height, width)

    def success(self) -> bool:
        """Whether the task is done now."""
        return self.world.success()

    def score(self) -> float:
        """Best stage reached in this episode, 0..1."""
        return self.world.score()

    def tool_points(self) -> Array:
        """Grasp points (2, 3) in the world, left first [m]."""
        return np.stack([self.world.tool_pose(side)[:3, 3] for side in SIDES])

    def wrist_forces(self) -> Array:
        """Forces (2, 3) on the wrists in axes of the world, the gripper's weight included [N]."""
        return np.stack(
            [self.world.tool_pose(side)[:3, :3] @ self.world.wrench(side)[:3] for side in SIDES]
        )

    @property
    def disturbed_at(self) -> float | None:
        """When the objects of this episode were put back [s]; None: they were not."""
        return self.world.disturbed_at

    def close(self) -> None:
        """Release the graphics context."""
        self._renderer.close()

    def _advance_to(self, steps: int) -> None:
        """Step until the episode has this many physics steps behind it."""
        self.world.step(steps - self._steps)
        self._steps = steps

    def _make_filter(self, side: Side) -> SafetyFilter:
        return SafetyFilter(self.cell.safety, self.cell.arms[side])


class ExpertPlayer:
    """Turns an expert into actions for the fast environment."""

    def __init__(self, env: CellEnv, seed: int, config: ExpertConfig | None = None) -> None:
        """Plan from the environment's present state."""
        self.expert = Expert(env.task, env.world, seed, config)
        self._period = env.period
        self._layout = env.cell.layout.action
        self._trackers = {side: ToolTracker(env.world, side) for side in SIDES}
        self.ticks = math.ceil(self.expert.duration / env.period) + math.ceil(_LAG / env.period)
        """Ticks of the episode, with the lag of the arms at the end."""

    def action(self, tick: int) -> Array:
        """Action (n,) of the tick: the command to be in force one tick later."""
        parts = {}
        for side in SIDES:
            pose, opening = self.expert.tool_target(side, (tick + 1) * self._period)
            parts[f"{side}_arm"] = self._trackers[side].solve(pose)
            parts[f"{side}_gripper"] = np.array([opening])
        return np.asarray(self._layout.pack(parts), dtype=np.float64)
