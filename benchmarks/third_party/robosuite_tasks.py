"""TwoArmLift of robosuite: two Pandas side by side lift a pot by its handles."""

import importlib.metadata

import numpy as np
import robosuite
from numpy.typing import NDArray
from robosuite.controllers import load_composite_controller_config
from robosuite.utils.log_utils import ROBOSUITE_DEFAULT_LOGGER

from benchmarks.third_party.expert import Move, Observation, nearest_face
from benchmarks.third_party.panda import JOINTS, Panda, Pose, tool_down

TASKS = {"two_arm_lift": "TwoArmLift"}
"""Task here -> name there."""
ROBOTS = {"left": 1, "right": 0}
"""Side -> number there of its robot and of its handle; number 0 is at negative y."""
STIFFNESS = 400.0
"""Proportional gain of the joint controller [1/s^2]; its default of 50 lags by 0.3 s."""
FINGER_TRAVEL = 0.04
"""Finger position when open [m]."""
CLEARANCE = np.array([0.0, 0.0, 0.1])
"""Way above a handle from which it is approached [m]."""
LIFT = np.array([0.0, 0.0, 0.16])
"""Way by which the pot is lifted; success asks for 0.10 [m]."""


class RobosuiteTask:
    """One task with two Pandas under absolute joint position control."""

    def __init__(self, task: str) -> None:
        """Build the task, one of `TASKS`."""
        ROBOSUITE_DEFAULT_LOGGER.setLevel("ERROR")
        self._env = robosuite.make(
            TASKS[task],
            robots=["Panda", "Panda"],
            env_configuration="parallel",
            controller_configs=_joint_control(),
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            control_freq=20,
            ignore_done=True,
            hard_reset=False,
            seed=0,
        )
        self.task = task
        self.arms = {
            side: Panda(base=tuple(self._env.robots[number].base_pos), tool=0.097)
            for side, number in ROBOTS.items()
        }
        self.objects = ("pot",)
        self.tick_rate = float(self._env.control_freq)
        self.versions = {
            name: importlib.metadata.version(name) for name in ("robosuite", "mujoco")
        }

    def reset(self, seed: int) -> Observation:
        """Start an episode; equal seeds give equal starts."""
        # One generator places the objects and disturbs the arms: give it the seed's state.
        self._env.rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
        return self._observe(self._env.reset())

    def step(self, action: NDArray[np.float64]) -> Observation:
        """Hold joint targets and openings for one tick."""
        sides = dict(zip(self.arms, action.reshape(len(self.arms), JOINTS + 1), strict=True))
        # Gripper actions are -1 to open and 1 to close.
        by_number = sorted((ROBOTS[side], side) for side in sides)
        target = [
            np.r_[sides[side][:JOINTS], 1 - 2 * sides[side][JOINTS]] for _, side in by_number
        ]
        return self._observe(self._env.step(np.concatenate(target))[0])

    def success(self) -> bool:
        """Whether the pot's bottom is 0.10 m above the table."""
        return bool(self._env._check_success())

    def script(self, start: Observation) -> list[Move]:
        """Grasp both handles from above and lift the pot."""
        qz, qw = start.environment[0, 5:]
        yaw = nearest_face(np.array([1 - 2 * qz * qz, 2 * qz * qw]), period=np.pi)
        handles = {
            side: self._env.sim.data.get_site_xpos(f"pot_handle{number}").copy()
            for side, number in ROBOTS.items()
        }

        def move(offset: NDArray[np.float64], opening: float, ticks: int) -> Move:
            targets = {side: Pose(at + offset, tool_down(yaw)) for side, at in handles.items()}
            return Move(targets=targets, opening=opening, ticks=ticks)

        return [
            move(CLEARANCE, 1.0, 24),
            move(np.zeros(3), 1.0, 14),
            move(np.zeros(3), 0.0, 8),
            move(LIFT, 0.0, 24),
        ]

    def _observe(self, values: dict[str, NDArray[np.float64]]) -> Observation:
        state, velocity = [], []
        for number in ROBOTS.values():
            finger = values[f"robot{number}_gripper_qpos"][0] / FINGER_TRAVEL
            state += [*values[f"robot{number}_joint_pos"], np.clip(finger, 0.0, 1.0)]
            velocity += [*values[f"robot{number}_joint_vel"]]
        return Observation(
            state=np.array(state),
            velocity=np.array(velocity),
            environment=np.r_[values["pot_pos"], values["pot_quat"]][None],
        )


def _joint_control() -> dict:
    """The basic controller of robosuite with the arm under absolute joint positions."""
    config = load_composite_controller_config(controller="BASIC", robot="Panda")
    config["body_parts"] = {
        "right": {
            "type": "JOINT_POSITION",
            "input_type": "absolute",
            "input_max": 1,
            "input_min": -1,
            "output_max": 1,
            "output_min": -1,
            "kp": STIFFNESS,
            "damping_ratio": 1,
            "impedance_mode": "fixed",
            "kp_limits": [0, 1000],
            "damping_ratio_limits": [0, 10],
            "qpos_limits": None,
            "interpolation": None,
            "ramp_ratio": 0.2,
            "gripper": {"type": "GRIP"},
        }
    }
    return config
