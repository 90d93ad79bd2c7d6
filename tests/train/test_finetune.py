import dataclasses
import json
import math
import signal
from importlib import metadata
from typing import get_args

import numpy as np
import pytest
import torch

from ate_core.errors import EpisodeError, TrainingError, UsageError
from ate_core.observation import Observation
from ate_policy.checkpoint import load_checkpoint
from ate_policy.models.interface import PolicyConfig
from ate_policy.policy import load_policy
from training import finetune as command
from training.configs.finetune import FinetuneConfig
from training.configs.train_vae import TrainVaeConfig
from training.data.dataset import gather
from training.data.trajectory import read_trajectories
from training.finetune import finetune
from training.objectives.latent_guidance import GuidanceMode
from training.train_vae import train_vae

VAE = {"steps": 3, "batch": 4, "latent": 8, "width": 16}
SHORT = {"steps": 6, "batch": 8, "log_every": 1, "save_every": 3}


@pytest.fixture(scope="module")
def vae(tmp_path_factory, episodes, write_demonstrations):
    """A stage-2 VAE of the episodes, hardly trained."""
    folder = tmp_path_factory.mktemp("vae")
    motion = write_demonstrations(folder / "motion", count=2, seed=7)
    one = TrainVaeConfig(stage=1, output=folder / "one", recordings=(motion,), motions=0, **VAE)
    assert train_vae(one) == 0
    config = TrainVaeConfig(
        stage=2, output=folder / "two", episodes=episodes, prior=folder / "one", **VAE
    )
    assert train_vae(config) == 0
    return folder / "two"


def weights(run):
    return load_checkpoint(run).weights


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def logged(run, key="loss"):
    return [json.loads(line)[key] for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_policy_that_loads_for_the_cell(tmp_path, episodes, cell):
    assert finetune(FinetuneConfig(episodes=episodes, output=tmp_path / "run", **SHORT)) == 0
    policy = load_policy(tmp_path / "run", cell)
    assert policy.config.objects == 1 and policy.horizon == 20
    assert policy.training["step"] == 6 and policy.training["task"] == "reach"
    assert len(logged(tmp_path / "run")) == 6
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["packages"]["torch"] == metadata.version("torch")
    data = gather(read_trajectories(episodes), PolicyConfig(objects=1))
    assert policy.training["data_sha256"] == data.sha256()
    card = load_checkpoint(tmp_path / "run").card
    assert "| demonstrations | 3 (120 ticks) |" in card


def test_one_seed_is_one_result(tmp_path, episodes):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        finetune(FinetuneConfig(episodes=episodes, output=tmp_path / name, seed=seed, **SHORT))
    assert equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not equal(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("mode", [mode for mode in get_args(GuidanceMode) if mode != "none"])
def test_guidance_of_strength_zero_is_bit_identical_to_plain(tmp_path, episodes, vae, mode):
    plain = FinetuneConfig(episodes=episodes, output=tmp_path / "plain", **SHORT)
    guided = dataclasses.replace(plain, output=tmp_path / "one", guidance=mode, vae=vae)
    finetune(plain)
    finetune(guided)
    finetune(dataclasses.replace(guided, output=tmp_path / "zero", guidance_strength=0.0))
    assert equal(weights(tmp_path / "plain"), weights(tmp_path / "zero"))
    assert logged(tmp_path / "plain") == logged(tmp_path / "zero")
    assert not equal(weights(tmp_path / "plain"), weights(tmp_path / "one"))


def test_plain_and_guided_runs_see_the_same_data(tmp_path, episodes, vae, monkeypatch):
    seen = {}
    original = command.loss_of

    def recording(model, objective, output, batch, step):
        noised = batch.noised
        rows = (batch.inputs.state, noised.actions, noised.noisy, noised.level)
        seen.setdefault(mode, []).append(rows)
        return original(model, objective, output, batch, step)

    monkeypatch.setattr(command, "loss_of", recording)
    for mode, encoder in (("none", None), ("paper", vae)):
        config = FinetuneConfig(
            episodes=episodes, vae=encoder, output=tmp_path / mode, guidance=mode, **SHORT
        )
        finetune(config)
    for plain, guided in zip(seen["none"], seen["paper"], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(plain, guided, strict=True))


def test_a_run_that_failed_before_its_first_checkpoint_may_start_again(tmp_path, episodes):
    config = FinetuneConfig(episodes=tmp_path / "wrong", output=tmp_path / "run", **SHORT)
    with pytest.raises(EpisodeError):
        finetune(config)
    assert finetune(dataclasses.replace(config, episodes=episodes)) == 0
    assert len(logged(tmp_path / "run")) == 6


def test_a_folder_of_something_else_is_left_alone(tmp_path, episodes):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        finetune(FinetuneConfig(episodes=episodes, output=tmp_path, **SHORT))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_only_the_newest_checkpoint_keeps_the_training_state(tmp_path, episodes):
    finetune(FinetuneConfig(episodes=episodes, output=tmp_path / "run", **SHORT))
    states = sorted(path.parent.name for path in tmp_path.glob("run/step_*/training_state.*"))
    assert states == ["step_000006"]
    assert load_checkpoint(tmp_path / "run" / "step_000003").training["step"] == 3


def test_resume_and_output_are_checked(tmp_path, episodes):
    config = FinetuneConfig(episodes=episodes, output=tmp_path / "run", **SHORT)
    with pytest.raises(UsageError, match="no run with a checkpoint"):
        finetune(dataclasses.replace(config, resume=True))
    finetune(config)
    with pytest.raises(UsageError, match="not empty"):
        finetune(config)
    with pytest.raises(UsageError, match=r"learning_rate: 0.5 \(was None\)"):
        finetune(dataclasses.replace(config, resume=True, learning_rate=0.5))


def test_a_run_older_than_an_option_had_its_default(tmp_path, episodes):
    config = FinetuneConfig(episodes=episodes, output=tmp_path / "run", **SHORT)
    finetune(config)
    file = tmp_path / "run" / "run.json"
    settings = json.loads(file.read_text())
    del settings["normalise"]
    file.write_text(json.dumps(settings))
    assert finetune(dataclasses.replace(config, resume=True)) == 0
    with pytest.raises(UsageError, match=r"normalise: False \(was True\)"):
        finetune(dataclasses.replace(config, resume=True, normalise=False))


def test_a_run_that_was_moved_resumes_and_forgets_what_a_kill_left(tmp_path, episodes):
    config = FinetuneConfig(episodes=episodes, output=tmp_path / "run", **SHORT)
    finetune(config)
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    (moved / ".step_000009-half").mkdir()
    with (moved / "log.jsonl").open("a") as file:
        file.write('{"loss": 1}\n{"ste')
    assert finetune(dataclasses.replace(config, output=moved, resume=True)) == 0
    assert len(logged(moved)) == 6
    assert not (moved / ".step_000009-half").exists()
    (moved / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run.json cannot be read .*--init"):
        finetune(dataclasses.replace(config, output=moved, resume=True))


def test_a_loss_that_is_not_finite_stops_and_spares_the_checkpoint(
    tmp_path, episodes, monkeypatch
):
    original = command.loss_of

    def poisoned(model, objective, output, batch, step):
        loss, metrics = original(model, objective, output, batch, step)
        return (loss * math.nan if step == 4 else loss), metrics

    monkeypatch.setattr(command, "loss_of", poisoned)
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="loss is nan at step 5: the batch is in"):
        finetune(FinetuneConfig(episodes=episodes, output=run, **SHORT))
    assert (run / "nonfinite_batch.safetensors").is_file()
    saved = load_checkpoint(run)
    assert saved.training["step"] == 3
    assert all(torch.isfinite(value).all() for value in saved.weights.values())


def test_a_vae_of_other_episodes_is_refused(tmp_path, vae, write_demonstrations):
    others = write_demonstrations(tmp_path / "others", seed=99)
    config = FinetuneConfig(
        episodes=others, vae=vae, guidance="paper", output=tmp_path / "run", **SHORT
    )
    with pytest.raises(TrainingError, match="trained on other episodes"):
        finetune(config)


def test_a_vae_of_stage_one_or_another_horizon_is_refused(tmp_path, vae, episodes):
    settings = {"episodes": episodes, "guidance": "paper", **SHORT}
    with pytest.raises(TrainingError, match="stage 1, guidance needs stage 2"):
        finetune(FinetuneConfig(vae=vae.parent / "one", output=tmp_path / "a", **settings))
    with pytest.raises(TrainingError, match="20 actions, the policy's 10"):
        finetune(FinetuneConfig(vae=vae, horizon=10, output=tmp_path / "b", **settings))


def test_guidance_without_a_vae_is_refused(tmp_path):
    with pytest.raises(UsageError, match="needs an action VAE"):
        FinetuneConfig(episodes=tmp_path, output=tmp_path, guidance="paper")


def test_a_pretrained_policy_is_where_training_starts(tmp_path, episodes):
    first = FinetuneConfig(episodes=episodes, output=tmp_path / "first", **SHORT)
    finetune(first)
    again = dataclasses.replace(
        first, output=tmp_path / "again", init=tmp_path / "first", learning_rate=1e-12
    )
    finetune(again)
    old, new = weights(tmp_path / "first"), weights(tmp_path / "again")
    assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in old)
    with pytest.raises(TrainingError, match="horizon 20 against 10"):
        finetune(dataclasses.replace(again, output=tmp_path / "other", horizon=10))


def test_a_vision_policy_learns_from_images(tmp_path, write_demonstrations, cell):
    folder = write_demonstrations(tmp_path / "episodes", count=2, ticks=20, images=True)
    config = FinetuneConfig(
        episodes=folder,
        output=tmp_path / "run",
        variant="vision",
        cameras=("cam_high",),
        steps=2,
        batch=16,
    )
    assert finetune(config) == 0
    policy = load_policy(tmp_path / "run", cell)
    assert policy.config.cameras == ("cam_high",) and not policy.config.objects
    first = read_trajectories(folder)[0]
    image = policy.decode(first.images["cam_high"][0])
    observation = Observation(state=first.state[0], images={"cam_high": image}, stamp_ns=0)
    assert np.isfinite(policy.infer(observation, 0)).all()


def test_the_policy_overfits_one_demonstration(tmp_path, write_demonstrations, cell):
    folder = write_demonstrations(tmp_path / "episodes", count=1, ticks=20)
    config = FinetuneConfig(
        episodes=folder, output=tmp_path / "run", steps=400, batch=32, ema_decay=0.9
    )
    finetune(config)
    policy = load_policy(tmp_path / "run", cell)
    episode = read_trajectories(folder)[0]
    observation = Observation(
        state=episode.state[0], environment=episode.environment[0], stamp_ns=0
    )
    error = policy.infer(observation, 0) - episode.action
    spread = np.ptp(episode.action)
    assert np.abs(error).mean() < 0.01 * spread


def test_a_signal_ends_the_run_with_a_checkpoint_that_resumes(tmp_path, episodes, stop_at):
    settings = {"episodes": episodes, **SHORT}
    finetune(FinetuneConfig(output=tmp_path / "whole", **settings))
    before = signal.getsignal(signal.SIGTERM)
    stop_at(3)
    config = FinetuneConfig(output=tmp_path / "cut", **settings)
    assert finetune(config) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert load_checkpoint(tmp_path / "cut").training["step"] == 4
    assert finetune(dataclasses.replace(config, resume=True)) == 0
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
