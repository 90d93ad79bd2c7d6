"""A cell of two six-joint arms: its vectors have 14 numbers, and training asks for no more."""

from pathlib import Path

import numpy as np

from ate_core.contract import load_cell
from ate_policy.policy import load_policy
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.configs.train_vae import TrainVaeConfig
from training.data.column_mapping import map_rows
from training.finetune import finetune
from training.objectives.shifted_target import PaperGuidance
from training.train_vae import train_vae
from training.vae.storage import load_vae

VAE = {"steps": 2, "batch": 8, "latent": 8, "width": 16}


def test_both_vaes_and_a_guided_policy_learn_from_six_joint_arms(tmp_path, write_demonstrations):
    cell = load_cell(Path("six_axis"), "sim")
    episodes = write_demonstrations(tmp_path / "episodes", count=2, cell=cell)
    first, second, run = (tmp_path / name for name in ("one", "two", "policy"))
    train_vae(TrainVaeConfig(stage=1, output=first, cell=Path("six_axis"), motions=2, **VAE))
    train_vae(TrainVaeConfig(stage=2, output=second, episodes=episodes, prior=first, **VAE))
    guidance, optim = PaperGuidance(vae=second), OptimOptions(batch=8)
    finetune(
        FinetuneConfig(episodes=episodes, output=run, steps=2, guidance=guidance, optim=optim)
    )
    assert load_vae(second).model.config.action_size == 14
    assert load_policy(run, cell).config.action_size == 14


def test_rows_of_aloha_have_the_width_of_a_six_joint_cell():
    layout = load_cell(Path("six_axis")).layout.action
    rows = np.arange(28.0, dtype=np.float32).reshape(2, 14)
    np.testing.assert_array_equal(map_rows(rows, layout, "rows"), rows)
