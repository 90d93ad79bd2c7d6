"""CLAP's token policy in `ate finetune`: it learns the codes of tokens that travel with it."""

import dataclasses
import json
import shutil
import signal

import numpy as np
import pytest
import torch

from ate_core.errors import CheckpointError, TrainingError, UsageError
from ate_core.observation import Observation
from ate_policy.checkpoint import load_checkpoint
from ate_policy.continuation import Continuation
from ate_policy.models.clap_ntp import ClapNtpOptions
from ate_policy.policy import load_policy
from training.clap import writing
from training.clap.written_batches import WristDropout
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.configs.train_tokens import TrainTokensConfig
from training.data.trajectory import read_trajectories
from training.finetune import finetune
from training.objectives.anchor import AnchorGuidance
from training.objectives.knowledge import token_loss
from training.train_tokens import train_tokens

TOKENS = {
    "steps": 2,
    "batch": 8,
    "codes": 8,
    "codebook": 8,
    "code_width": 4,
    "width": 16,
    "feedforward": 32,
    "heads": 2,
}
SHORT = {"steps": 2, "optim": OptimOptions(batch=8, warmup=0), "log_every": 1, "save_every": 1}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory, episodes):
    """Runs of `ate train-tokens` by space, hardly trained."""
    folder = tmp_path_factory.mktemp("tokens")
    for space in ("tool", "relative"):
        config = TrainTokensConfig(
            output=folder / space, episodes=(episodes,), space=space, **TOKENS
        )
        assert train_tokens(config) == 0
    return folder


def configured(tokens, episodes, output, space="tool", **options):
    policy = ClapNtpOptions(preset="tiny", tokens=tokens / space, **options)
    return FinetuneConfig(episodes=episodes, output=output, policy=policy, **SHORT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tokens, episodes):
    """The configuration of a run, and its run."""
    config = configured(tokens, episodes, tmp_path_factory.mktemp("ntp") / "run")
    assert finetune(config) == 0
    return config


def weights(run):
    return load_checkpoint(run).weights


def differing(first, second):
    return {name for name in first if not torch.equal(first[name], second[name])}


def observed(episodes, tick=5):
    first = read_trajectories(episodes)[0]
    return Observation(state=first.state[tick], environment=first.environment[tick], stamp_ns=0)


@pytest.mark.parametrize("space", ["tool", "relative"])
def test_sixteen_codes_become_a_chunk_of_joints_and_no_noise_is_in_it(
    tmp_path, tokens, episodes, cell, space
):
    assert finetune(configured(tokens, episodes, tmp_path / "run", space)) == 0
    policy, seen = load_policy(tmp_path / "run", cell), observed(episodes)
    chunk = policy.infer(seen)
    assert chunk.shape == (20, 16) and chunk.dtype == np.float32 and np.isfinite(chunk).all()
    np.testing.assert_array_equal(chunk, policy.infer(seen, 3))  # no noise
    codes = policy._model.chunk(policy.prepare(seen))
    assert codes.shape == (1, 16)
    if space == "tool":
        for side, arm in cell.arms.items():
            joints = chunk[:, cell.layout.action.slice(f"{side}_arm")]
            lower, upper = (np.array(one, np.float32) for one in arm.bounds())
            assert ((joints >= lower) & (joints <= upper)).all()


def test_the_tokens_travel_inside_the_checkpoint_to_the_byte(trained, tokens, cell, tmp_path):
    stored = load_checkpoint(trained.output)
    folder = trained.output / "last" / "tokens"
    assert stored.model["tokens"] == str(folder.resolve())
    names = {path.name for path in folder.iterdir()}
    assert "training_state.safetensors" not in names
    for name in names:
        assert (folder / name).read_bytes() == (tokens / "tool" / "last" / name).read_bytes()
    assert not any(name.startswith("tokens") for name in stored.weights)
    assert "as 16 codes of 8 (tool space, tokens" in stored.card
    assert stored.training["tokens"]["sha256"] == stored.model["tokens_sha256"]


def test_tokens_that_were_exchanged_are_refused(trained, tokens, cell, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.output / "last", run)
    shutil.rmtree(run / "tokens")
    with pytest.raises(CheckpointError, match=r"no checkpoint"):
        load_policy(run, cell)
    shutil.copytree(tokens / "relative" / "last", run / "tokens")
    with pytest.raises(CheckpointError, match=r"policy was trained with .*copy the checkpoint"):
        load_policy(run, cell)


def test_it_resumes_to_the_same_weights(tmp_path, trained, monkeypatch):
    stopped = dataclasses.replace(trained, output=tmp_path / "run")

    def interrupted(*given):
        signal.raise_signal(signal.SIGTERM)
        return token_loss(*given)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "token_loss", interrupted)
        assert finetune(stopped) == 130
    assert finetune(dataclasses.replace(stopped, resume=True)) == 0
    assert not differing(weights(trained.output), weights(tmp_path / "run"))


def test_it_learns_codes_and_goes_on_from_its_own_weights(tmp_path, trained, tokens, episodes):
    longer = dataclasses.replace(trained, output=tmp_path / "run", steps=60, save_every=60)
    assert finetune(longer) == 0
    lines = [json.loads(one) for one in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    assert 0.0 <= lines[-1]["right_codes"] <= 1.0
    again = dataclasses.replace(
        trained,
        output=tmp_path / "again",
        init=tmp_path / "run",
        policy=ClapNtpOptions(preset="tiny"),
    )
    assert finetune(again) == 0
    other = dataclasses.replace(again, output=tmp_path / "other", policy=trained.policy)
    assert finetune(other) == 0  # the same tokens, named once more
    joints = dataclasses.replace(trained.policy, tokens=tokens / "relative")
    with pytest.raises(TrainingError, match=r"tokens .*relative.* has space relative, needed is"):
        finetune(dataclasses.replace(again, output=tmp_path / "not", policy=joints))


def test_tokens_of_another_horizon_are_refused_by_name(tmp_path, trained):
    with pytest.raises(TrainingError, match=r"has horizon 20, needed is 8: give tokens of the"):
        finetune(dataclasses.replace(trained, output=tmp_path / "run", horizon=8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"guidance": AnchorGuidance(), "init": "run"}, "guidance:anchor steers .*leave it out"),
        ({"max_delay": 4}, "max_delay is 4, but policy:clap_ntp writes a chunk as a whole"),
        ({"actions": "relative"}, "policy:clap_ntp cannot learn .*the space of its tokens"),
    ],
)
def test_words_that_mean_nothing_to_it_are_refused_before_anything_starts(
    tmp_path, trained, change, message
):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(trained, output=tmp_path / "run", **change)


def test_a_run_without_tokens_is_told_where_they_come_from(tmp_path, episodes):
    config = FinetuneConfig(
        episodes=episodes, output=tmp_path / "run", policy=ClapNtpOptions(preset="tiny"), **SHORT
    )
    with pytest.raises(UsageError, match=r"none are named: give --policy.tokens, a run of"):
        finetune(config)


def test_it_cannot_go_on_with_a_chunk(trained, episodes, cell):
    policy = load_policy(trained.output, cell)
    old = Continuation(actions=np.zeros((3, 16)), delay=1)
    assert not policy.continues
    with pytest.raises(UsageError, match="use chunk mode synchronous or temporal_ensemble"):
        policy.infer(observed(episodes), None, old)


def test_pictures_of_wrists_are_replaced_by_the_standing_camera(cell):
    cameras = cell.layout.cameras
    dropout = WristDropout(0.5, cell, cameras)
    images = torch.arange(len(cameras)).float().view(1, -1, 1, 1, 1).expand(400, -1, 3, 2, 2)
    dropped = dropout.draw(400, torch.Generator().manual_seed(0))
    seen = dropout.apply(images, dropped)[:, :, 0, 0, 0]
    head = cameras.index("cam_high")
    assert (seen[:, head] == head).all()
    for column in set(range(len(cameras))) - {head}:
        share = (seen[:, column] == head).float().mean()
        assert 0.4 < share < 0.6 and ((seen[:, column] == head) == dropped[:, column]).all()
    with pytest.raises(UsageError, match="none stands"):
        WristDropout(0.5, cell, ("cam_left_wrist", "cam_right_wrist"))
