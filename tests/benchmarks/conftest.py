"""A toy in the place of a simulator, a policy that knows its task, episodes of nobody."""

import numpy as np
import pytest

from ate_sim.embodiments import FastEpisode
from benchmarks.third_party.episodes import load_robot
from benchmarks.third_party.expert import Move, Observation
from benchmarks.third_party.panda import Panda, Pose, tool_down

ARM = Panda(base=(-0.615, 0.0, 0.0), tool=0.1034)


class Toy:
    """A Panda whose joints obey at once; the task is to bring the tool to the goal, opened."""

    task = "push_cube"
    arm = ARM
    arms = {"right": ARM}  # noqa: RUF012
    objects = ("cube", "goal")
    tick_rate = 20.0
    versions = {"toy": "1"}  # noqa: RUF012
    rest = np.array([0.0, 0.4, 0.0, -2.0, 0.0, 2.4, np.pi / 4])

    def reset(self, seed):
        self._goal = np.random.default_rng(seed).uniform([-0.1, -0.1, 0.1], [0.1, 0.1, 0.2])
        return self._show(np.r_[self.rest, 0.0])

    def step(self, action):
        return self._show(np.asarray(action, dtype=float))

    def success(self):
        reached = np.linalg.norm(ARM.forward(self._state[:7]).position - self._goal) < 0.02
        return bool(reached and self._state[7] > 0.5)

    def script(self, start):
        goal = Pose(start.environment[1, :3], tool_down(0.0))
        return [
            Move(targets={"right": goal}, opening=o, ticks=t) for o, t in ((0.0, 20), (1.0, 5))
        ]

    def _show(self, state):
        self._state = state
        poses = np.zeros((2, 7))
        poses[1, :3], poses[:, 6] = self._goal, 1.0
        return Observation(state=state, velocity=np.zeros(7), environment=poses)


class Knowing:
    """Stands in for a trained policy: its chunk ends at the goal after ten actions, opened."""

    contract = load_robot("panda").canonical_text()
    training = {"task": "push_cube"}  # noqa: RUF012
    horizon = 20

    def infer(self, observation, seed):
        state = np.asarray(observation.state, dtype=float)
        goal = Pose(observation.environment[1, :3].astype(float), tool_down(0.0))
        end = np.r_[ARM.inverse(goal, state[:7]), 1.0]
        part = np.minimum(np.arange(1, 21) / 10, 1.0)[:, None]
        return ((1 - part) * state + part * end).astype(np.float32)


@pytest.fixture
def toy():
    """A simulator."""
    return Toy()


@pytest.fixture
def knowing():
    """A policy."""
    return Knowing()


def play(task, seeds, **_):
    """An episode of forty ticks in which both arms and a square in the picture move."""
    rng = np.random.default_rng(seeds[0])
    way = np.linspace(0.0, 1.0, 40)[:, None]
    action = (0.4 + way * rng.uniform(-0.3, 0.3, 16)).astype(np.float32)
    pictures = np.full((40, 72, 128, 3), 60, np.uint8)
    for tick, row in enumerate(action):
        at = int(100 * np.clip(row[0], 0.0, 1.0))
        pictures[tick, 20:50, at : at + 20] = 200
    return [
        FastEpisode(
            task=task,
            seed=seeds[0],
            state=action - np.float32(0.01),
            action=action,
            environment=np.zeros((40, 2, 7), np.float32),
            images={"cam_high": pictures},
            success=seeds[0] % 2 == 0,
        )
    ]


@pytest.fixture
def played():
    """In the place of `collect_fast`: forty ticks in which both arms and a square move."""
    return play
