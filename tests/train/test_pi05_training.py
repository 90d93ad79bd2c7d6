"""pi0.5 through the one trainer."""

import dataclasses
from pathlib import Path

import pytest
import torch

from ate_core.errors import TrainingError, UsageError
from ate_policy.checkpoint import load_checkpoint
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.models.pi05_entry import Pi05Options
from ate_policy.policy import load_policy
from ate_policy.transforms import Normalise
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.configs.train_vae import TrainVaeConfig
from training.finetune import finetune
from training.objectives.shifted_target import PaperGuidance
from training.train_vae import train_vae

SHORT = {"steps": 4, "optim": OptimOptions(batch=4), "log_every": 1, "save_every": 2}


def test_a_pi05_is_trained_between_the_quantiles_and_keeps_them_from_its_start(
    tmp_path, episodes, cell
):
    whole = FinetuneConfig(
        episodes=episodes, output=tmp_path / "whole", policy=Pi05Options(preset="tiny"), **SHORT
    )
    assert finetune(whole) == 0
    for vector in (
        load_policy(tmp_path / "whole", cell).statistics.state,
        load_policy(tmp_path / "whole", cell).statistics.action,
    ):
        ends = Normalise(vector).apply(torch.tensor([vector.q01, vector.q99]))
        torch.testing.assert_close(ends, torch.tensor([[-1.0], [1.0]]).expand(2, 16))
    weights = load_checkpoint(tmp_path / "whole").weights
    last = tmp_path / "whole" / "last"
    again = dataclasses.replace(whole, output=tmp_path / "next", init=last, statistics="init")
    assert finetune(again) == 0
    assert load_checkpoint(tmp_path / "next").weights.keys() == weights.keys()
    assert load_checkpoint(tmp_path / "next").statistics == load_checkpoint(last).statistics


def test_a_pi05_is_guided_by_a_vae_that_is_scaled_by_quantiles_too(tmp_path, episodes):
    small = {"steps": 1, "batch": 4, "latent": 8, "width": 16, "single_stage": True}
    vae = TrainVaeConfig(stage=2, output=tmp_path / "vae", episodes=episodes, **small)
    scaled = dataclasses.replace(vae, output=tmp_path / "scaled", by_quantiles=True)
    train_vae(vae)
    train_vae(scaled)
    run = FinetuneConfig(
        episodes=episodes, output=tmp_path / "run", policy=Pi05Options(preset="tiny"), **SHORT
    )
    guided = dataclasses.replace(run, guidance=PaperGuidance(vae=vae.output))
    with pytest.raises(TrainingError, match=r"only one of the VAE .*train it again with --by-qua"):
        finetune(guided)
    plain = dataclasses.replace(
        run,
        output=tmp_path / "plain",
        policy=FlowOptions(preset="tiny"),
        guidance=PaperGuidance(vae=scaled.output),
    )
    with pytest.raises(TrainingError, match="train it again without --by-quantiles"):
        finetune(plain)
    guided = dataclasses.replace(
        run, output=tmp_path / "guided", guidance=PaperGuidance(vae=scaled.output)
    )
    assert finetune(guided) == 0


@pytest.mark.parametrize("other", [{"normalise": False}, {"statistics_of": Path("BASE")}])
def test_quantiles_are_those_of_the_episodes(tmp_path, other):
    with pytest.raises(UsageError, match="--by-quantiles scales by the episodes' own quantiles"):
        TrainVaeConfig(
            stage=2,
            output=tmp_path,
            episodes=tmp_path,
            single_stage=True,
            by_quantiles=True,
            **other,
        )
