import dataclasses
import json
import math
import signal
from importlib import metadata

import numpy as np
import pytest
import torch

from ate_core.errors import EpisodeError, TrainingError, UsageError
from ate_core.observation import Observation
from ate_policy.checkpoint import load_checkpoint
from ate_policy.models.interface import PolicyConfig
from ate_policy.policy import load_policy
from training import finetune as command
from training.configs.finetune import FinetuneConfig, ImageOptions, OptimOptions
from training.configs.train_vae import TrainVaeConfig
from training.data.dataset import gather
from training.data.trajectory import read_trajectories
from training.finetune import finetune
from training.objectives.guidance import GUIDANCE, PLAIN, guidance_class, reads_vae
from training.objectives.no_guidance import NoGuidance
from training.objectives.shifted_target import PaperGuidance
from training.train_vae import train_vae

VAE = {"steps": 3, "batch": 4, "latent": 8, "width": 16}
SHORT = {"steps": 6, "optim": OptimOptions(batch=8), "log_every": 1, "save_every": 3}


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


@pytest.mark.parametrize(
    "mode", [mode for mode in GUIDANCE.builtin if reads_vae(guidance_class(mode))]
)
def test_guidance_of_strength_zero_is_bit_identical_to_plain(tmp_path, episodes, vae, mode):
    plain = FinetuneConfig(episodes=episodes, output=tmp_path / "plain", **SHORT)
    mode = guidance_class(mode)
    guided = dataclasses.replace(plain, output=tmp_path / "one", guidance=mode(vae=vae))
    finetune(plain)
    finetune(guided)
    without = mode(vae=vae, strength=0.0)
    finetune(dataclasses.replace(guided, output=tmp_path / "zero", guidance=without))
    assert equal(weights(tmp_path / "plain"), weights(tmp_path / "zero"))
    assert logged(tmp_path / "plain") == logged(tmp_path / "zero")
    assert not equal(weights(tmp_path / "plain"), weights(tmp_path / "one"))


@pytest.mark.parametrize(
    ("mode", "losses"),
    [
        ("none", [1.6579520, 1.1970305, 1.2006067, 1.4300897, 0.8439758, 0.8286996]),
        ("paper", [1.6562898, 1.1957108, 1.1838944, 1.3894627, 0.8298886, 0.8195649]),
        ("anneal", [1.6562898, 1.1957948, 1.1875412, 1.4081695, 0.8399736, 0.8280473]),
        ("toward", [1.6597595, 1.1983452, 1.2225151, 1.4831629, 0.8611093, 0.8384849]),
        ("random", [1.6579292, 1.1973645, 1.2010249, 1.4295547, 0.8432124, 0.8281821]),
        ("reference", [1.6578710, 1.1969945, 1.1995026, 1.4222955, 0.8432482, 0.8282127]),
        ("latent_metric", [1.6912227, 1.2182492, 1.2369548, 1.4716507, 0.8688147, 0.8421053]),
    ],
)
def test_a_seed_gives_the_losses_that_were_recorded_once(tmp_path, episodes, vae, mode, losses):
    guidance = guidance_class(mode)(**({} if mode == PLAIN else {"vae": vae}))
    run = tmp_path / "run"
    finetune(FinetuneConfig(episodes=episodes, output=run, guidance=guidance, **SHORT))
    assert logged(run) == pytest.approx(losses, rel=1e-5)


def test_plain_and_guided_runs_see_the_same_data(tmp_path, episodes, vae, monkeypatch):
    seen = {}
    original = command.loss_of

    def recording(model, objective, output, batch, step):
        noised = batch.noised
        rows = (batch.inputs.state, noised.actions, noised.noisy, noised.level)
        seen.setdefault(mode, []).append(rows)
        return original(model, objective, output, batch, step)

    monkeypatch.setattr(command, "loss_of", recording)
    for mode, guidance in (("none", NoGuidance()), ("paper", PaperGuidance(vae=vae))):
        finetune(
            FinetuneConfig(episodes=episodes, output=tmp_path / mode, guidance=guidance, **SHORT)
        )
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
    other = OptimOptions(batch=8, learning_rate=0.5)
    with pytest.raises(UsageError, match=r"optim.learning_rate: 0.5 \(was None\)"):
        finetune(dataclasses.replace(config, resume=True, optim=other))


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


def test_weights_that_a_gradient_broke_are_never_saved(tmp_path, episodes, monkeypatch):
    original, steps = command.apply_gradients, []

    def poisoned(optimizer, model, rate):
        steps.append(rate)
        if len(steps) == 6:  # no loss is computed between it and the checkpoint
            next(model.parameters()).grad.fill_(math.nan)
        return original(optimizer, model, rate)

    monkeypatch.setattr(command, "apply_gradients", poisoned)
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="is not finite after step 6, and nothing is saved"):
        finetune(FinetuneConfig(episodes=episodes, output=run, **SHORT))
    saved = load_checkpoint(run)
    assert saved.training["step"] == 3
    assert all(torch.isfinite(value).all() for value in saved.weights.values())
    monkeypatch.setattr(command, "apply_gradients", original)
    assert finetune(FinetuneConfig(episodes=episodes, output=run, resume=True, **SHORT)) == 0


def test_a_vae_of_other_episodes_is_refused(tmp_path, vae, write_demonstrations):
    others = write_demonstrations(tmp_path / "others", seed=99)
    config = FinetuneConfig(
        episodes=others, guidance=PaperGuidance(vae=vae), output=tmp_path / "run", **SHORT
    )
    with pytest.raises(TrainingError, match="trained on other episodes"):
        finetune(config)


def test_a_vae_of_stage_one_or_another_horizon_is_refused(tmp_path, vae, episodes):
    settings = {"episodes": episodes, **SHORT}
    guidance = PaperGuidance(vae=vae.parent / "one")
    with pytest.raises(TrainingError, match="stage 1, guidance needs stage 2"):
        finetune(FinetuneConfig(guidance=guidance, output=tmp_path / "a", **settings))
    settings |= {"guidance": PaperGuidance(vae=vae), "horizon": 10}
    with pytest.raises(TrainingError, match="20 actions, the policy's 10"):
        finetune(FinetuneConfig(output=tmp_path / "b", **settings))


def test_a_pretrained_policy_is_where_training_starts(tmp_path, episodes):
    first = FinetuneConfig(episodes=episodes, output=tmp_path / "first", **SHORT)
    finetune(first)
    again = dataclasses.replace(
        first,
        output=tmp_path / "again",
        init=tmp_path / "first",
        optim=OptimOptions(batch=8, learning_rate=1e-12),
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
        images=ImageOptions(cameras=("cam_high",)),
        steps=2,
        optim=OptimOptions(batch=16),
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
        episodes=folder,
        output=tmp_path / "run",
        steps=400,
        optim=OptimOptions(batch=32, ema_decay=0.9),
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
