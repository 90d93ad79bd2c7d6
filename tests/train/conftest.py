"""Small synthetic demonstrations: arms that follow their objects along smooth paths."""

import numpy as np
import pytest
import torch

from ate_core.contract import load_cell
from training.data.dataset import Trajectory


@pytest.fixture(autouse=True)
def one_thread():
    """More threads are slower for tiny networks, and sums would depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cell():
    """The packaged cell with emulated devices."""
    return load_cell(hardware="sim")


@pytest.fixture
def make_trajectories(cell):
    """Factory of `count` demonstrations of `ticks` ticks, seeded."""

    def make(count=3, ticks=40, seed=0, objects=1):
        rng = np.random.default_rng(seed)
        phase = np.linspace(0.0, 1.0, ticks, dtype=np.float32)[:, None]
        result = []
        for index in range(count):
            goal = rng.uniform(-0.5, 0.5, 16).astype(np.float32)
            goal[[7, 15]] = 0.5 + 0.4 * np.sign(goal[[7, 15]])
            action = 0.5 + (goal - 0.5) * phase**2 * (3 - 2 * phase)
            poses = np.zeros((ticks, objects, 7), np.float32)
            poses[..., :3] = goal[:3]
            poses[..., 6] = 1.0
            result.append(
                Trajectory(
                    name=f"episode_{index:06d}",
                    state=action - 0.01,
                    action=action,
                    environment=poses if objects else None,
                    images={},
                    contract=cell.canonical_text(),
                    task="reach",
                )
            )
        return result

    return make
