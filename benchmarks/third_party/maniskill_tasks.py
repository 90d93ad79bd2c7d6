"""PushCube and PickCube of ManiSkill 3, state mode, on a CPU without a renderer."""

import importlib.metadata
from typing import Any

import gymnasium
import mani_skill.envs  # noqa: F401  registers the tasks
import numpy as np
import sapien
from numpy.typing import NDArray
from sapien.wrapper.actor_builder import ActorBuilder

from benchmarks.third_party.expert import Move, Observation, nearest_face
from benchmarks.third_party.panda import JOINTS, Panda, Pose, tool_down

TASKS = {
    "push_cube": ("PushCube-v1", "obj", "goal_region"),
    "pick_cube": ("PickCube-v1", "cube", "goal_site"),
}
"""Task here -> name there, and its attributes that hold the cube and the goal."""
SIDE = "right"
"""The one arm is the right one."""
FINGER_TRAVEL = 0.04
"""Finger position when open [m]."""
CLEARANCE = np.array([0.0, 0.0, 0.1])
"""Way above an object from which it is approached [m]."""
BEHIND = np.array([-0.07, 0.0, 0.0])
"""Start of a push, from the cube [m]."""
PUSH_END = np.array([-0.08, 0.0, 0.0])
"""End of a push, from the centre of the goal [m]."""


class NoMaterial:
    """Stands in for `sapien.render.RenderMaterial`, which asks for a rendering device."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


def remove_visuals() -> None:
    """Let tasks build without a rendering device: collision shapes only, the same physics."""
    sapien.render.RenderMaterial = NoMaterial
    for name in dir(ActorBuilder):
        if name.startswith("add_") and "visual" in name:
            setattr(ActorBuilder, name, lambda self, *_, **__: self)


class ManiSkillTask:
    """One task with one Panda under `pd_joint_pos` control."""

    def __init__(self, task: str) -> None:
        """Build the task, one of `TASKS`."""
        remove_visuals()
        name, cube, goal = TASKS[task]
        self._env = gymnasium.make(
            name,
            obs_mode="none",
            reward_mode="none",
            control_mode="pd_joint_pos",
            sim_backend="physx_cpu",
            render_backend="none",
        ).unwrapped
        self._actors = (getattr(self._env, cube), getattr(self._env, goal))
        self.task = task
        self.arms = {SIDE: Panda(base=(-0.615, 0.0, 0.0), tool=0.1034)}
        self.objects = ("cube", "goal")
        self.tick_rate = float(self._env.control_freq)
        self.versions = {
            name: importlib.metadata.version(name) for name in ("mani_skill", "sapien")
        }

    def reset(self, seed: int) -> Observation:
        """Start an episode; equal seeds give equal starts."""
        self._env.reset(seed=seed)
        return self._observe()

    def step(self, action: NDArray[np.float64]) -> Observation:
        """Hold joint targets and opening for one tick."""
        # Gripper actions -1 and 1 are finger targets of -0.01 m (it squeezes) and 0.04 m.
        target = np.r_[action[:JOINTS], 2 * action[JOINTS] - 1]
        self._env.step(target.astype(np.float32))
        return self._observe()

    def success(self) -> bool:
        """Whether the task's own measure is met."""
        return bool(self._env.evaluate()["success"].item())

    def script(self, start: Observation) -> list[Move]:
        """Push the cube along x, or grasp it from above and carry it to the goal."""
        cube, goal = start.environment[:, :3]
        if self.task == "push_cube":
            return [
                _move(cube + BEHIND + CLEARANCE, 0.0, 0.0, 16),
                _move(cube + BEHIND, 0.0, 0.0, 10),
                _move(np.r_[goal[:2], cube[2]] + PUSH_END, 0.0, 0.0, 20),
            ]
        qz, qw = start.environment[0, 5:]
        yaw = nearest_face(np.array([1 - 2 * qz * qz, 2 * qz * qw]))
        return [
            _move(cube + CLEARANCE, yaw, 1.0, 16),
            _move(cube, yaw, 1.0, 10),
            _move(cube, yaw, 0.0, 6),
            _move(goal, yaw, 0.0, 20),
            _move(goal, yaw, 0.0, 10),
        ]

    def _observe(self) -> Observation:
        robot = self._env.agent.robot
        q, qd = _row(robot.get_qpos()), _row(robot.get_qvel())
        return Observation(
            state=np.r_[q[:JOINTS], np.clip(q[JOINTS] / FINGER_TRAVEL, 0.0, 1.0)],
            velocity=qd[:JOINTS],
            # x y z qw qx qy qz there, x y z qx qy qz qw here
            environment=np.stack(
                [_row(actor.pose.raw_pose)[[0, 1, 2, 4, 5, 6, 3]] for actor in self._actors]
            ),
        )


def _move(position: NDArray[np.float64], yaw: float, opening: float, ticks: int) -> Move:
    return Move(targets={SIDE: Pose(position, tool_down(yaw))}, opening=opening, ticks=ticks)


def _row(tensor: Any) -> NDArray[np.float64]:
    """The one row of a batch of one."""
    return tensor[0].numpy().astype(np.float64)
