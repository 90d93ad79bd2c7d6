"""A policy of seven cameras: drawn, written, trained on, and read again by the simulated cell."""

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import DeviceError
from ate_policy.policy import load_policy
from ate_sim.embodiments import collect_fast
from ate_sim.env import CellEnv
from ate_sim.world.engine import require_graphics
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.data.episode_file import write_episode
from training.finetune import finetune
from training.studies.stages import as_episode


def test_a_policy_trains_on_every_camera_of_the_cell(tmp_path, seven_cameras):
    try:
        require_graphics()
    except DeviceError as error:
        pytest.skip(str(error))
    cell = load_cell(seven_cameras, "sim")
    keys = cell.layout.cameras
    [made] = collect_fast("pick_place", [0], cameras=keys, image_size=(36, 64), cell=cell)
    write_episode(tmp_path / "episodes/episode_000000.hdf5", as_episode(made, cell))
    config = FinetuneConfig(
        episodes=tmp_path / "episodes",
        output=tmp_path / "run",
        variant="vision",
        steps=2,
        optim=OptimOptions(batch=8),
    )
    assert finetune(config) == 0
    policy = load_policy(tmp_path / "run", cell)
    assert sorted(policy.config.cameras) == sorted(keys) and len(keys) == 7
    env = CellEnv("pick_place", cell, cameras=policy.config.cameras, image_size=None)
    assert np.isfinite(policy.infer(env.observe(), 0)).all()
    env.close()
