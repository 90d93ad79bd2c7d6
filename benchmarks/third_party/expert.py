"""A scripted expert for any simulator: tool poses one after the other, made into joint targets.

It plans once, from where the objects lie at the start, and plays the plan open loop. Every
demonstration has its own pace and its own aim, so that a policy sees more than one line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.third_party.panda import JOINTS, Panda, Pose, rotate, rotation_vector

PACE = (0.85, 1.2)
"""Range of the factor on all durations."""
AIM_NOISE = 0.002
"""Standard deviation of the aim along each axis, constant over an episode [m]."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a simulator shows at one tick."""

    state: NDArray[np.float64]
    """Per arm, left before right: 7 joints [rad], gripper (0 closed, 1 open)."""
    velocity: NDArray[np.float64]
    """Per arm: 7 joint velocities [rad/s]."""
    environment: NDArray[np.float64]
    """Object poses x y z qx qy qz qw, world frame, shape (n, 7)."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """One straight movement of all tools."""

    targets: Mapping[str, Pose]
    """Where the tool of each side ends."""
    opening: float
    """Opening of all grippers during it, 0 closed to 1 open."""
    ticks: int
    """Duration at pace 1."""


class Simulator(Protocol):
    """What a benchmark needs of a third-party simulator; it runs at ``tick_rate``."""

    task: str
    """Name of the task in this benchmark."""
    arms: Mapping[str, Panda]
    """Arms by side, left before right."""
    objects: tuple[str, ...]
    """Names of the rows of ``Observation.environment``."""
    tick_rate: float
    """Control rate [Hz]."""
    versions: Mapping[str, str]
    """Versions of the packages that decide on the physics."""

    def reset(self, seed: int) -> Observation:
        """Start an episode; equal seeds give equal starts."""

    def step(self, action: NDArray[np.float64]) -> Observation:
        """Hold joint targets [rad] and openings, in the order of the state, for one tick."""

    def success(self) -> bool:
        """Whether the task is done now, by the simulator's own measure."""

    def script(self, start: Observation) -> list[Move]:
        """How an expert does the task from this start."""


def joint_names(arms: Mapping[str, Panda]) -> dict[str, list[str]]:
    """Names of the joints by side, as the contracts in ``robots/`` give them."""
    return {side: [f"{side}_panda_joint{i + 1}" for i in range(JOINTS)] for side in arms}


def plan(simulator: Simulator, start: Observation, rng: np.random.Generator) -> Iterator[NDArray]:
    """Joint targets and openings of every tick, in the order of the state.

    Along a movement the fraction done follows the minimum-jerk profile
    s(u) = 10 u^3 - 15 u^4 + 6 u^5 (Flash and Hogan, 1985).
    """
    arms, pace = simulator.arms, rng.uniform(*PACE)
    aim = {side: rng.normal(0.0, AIM_NOISE, 3) for side in arms}
    joints = dict(zip(arms, start.state.reshape(len(arms), JOINTS + 1)[:, :JOINTS], strict=True))
    before = {side: arm.forward(joints[side]) for side, arm in arms.items()}
    for move in simulator.script(start):
        after = {
            side: Pose(pose.position + aim[side], pose.rotation)
            for side, pose in move.targets.items()
        }
        ticks = max(1, round(move.ticks * pace))
        for u in np.arange(1, ticks + 1) / ticks:
            part = 10 * u**3 - 15 * u**4 + 6 * u**5
            action = []
            for side, arm in arms.items():
                pose = between(before[side], after[side], part)
                joints[side] = arm.inverse(pose, joints[side])
                action += [*joints[side], move.opening]
            yield np.array(action)
        before = after


def between(first: Pose, second: Pose, part: float) -> Pose:
    """The pose at a fraction of the way, straight in position and along one axis in rotation."""
    turn = rotation_vector(second.rotation @ first.rotation.T)
    return Pose(
        (1 - part) * first.position + part * second.position,
        rotate(part * turn) @ first.rotation,
    )


def nearest_face(x_axis: NDArray[np.float64], period: float = np.pi / 2) -> float:
    """Smallest yaw [rad] of a gripper for a body that looks the same every ``period`` [rad]."""
    yaw = float(np.arctan2(x_axis[1], x_axis[0]))
    return (yaw + period / 2) % period - period / 2
