"""Every policy through the one trainer: what is saved runs on a robot."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from ate_core.errors import CheckpointError, TrainingError, UsageError
from ate_core.observation import Observation
from ate_policy.checkpoint import load_checkpoint, save_checkpoint
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.models.pi0_entry import Pi0Options
from ate_policy.models.rdt_entry import RdtOptions
from ate_policy.models.registry import policy_entry
from ate_policy.policy import load_policy
from training import finetune as command
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.data.trajectory import read_trajectories
from training.finetune import finetune
from training.loop.policies import build_policy, policy_config

POLICIES = ("flow", "diffusion", "pi0", "rdt", "clap_rf")
SHORT = {"steps": 4, "optim": OptimOptions(batch=4), "log_every": 1, "save_every": 2}
FLOW = FlowOptions(preset="tiny")


def tiny(policy):
    """Options of the tiny size of a network."""
    return policy_entry(policy).options(preset="tiny")


def weights(run):
    return load_checkpoint(run).weights


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_sees_through_cameras(tmp_path, write_demonstrations, cell, policy):
    folder = write_demonstrations(tmp_path / "episodes", count=2, ticks=20, images=True)
    config = FinetuneConfig(
        episodes=folder,
        output=tmp_path / "run",
        policy=tiny(policy),
        variant="vision",
        **{**SHORT, "optim": OptimOptions(batch=16), "steps": 1},
    )
    assert finetune(config) == 0
    policy = load_policy(tmp_path / "run", cell)
    assert len(policy.config.cameras) == 3
    first = read_trajectories(folder)[0]
    images = {key: policy.decode(first.images[key][0]) for key in policy.config.cameras}
    observation = Observation(state=first.state[0], images=images, stamp_ns=0)
    chunk = policy.infer(observation, 0)
    assert chunk.shape == (20, 16) and np.isfinite(chunk).all()


def test_adapters_are_trained_and_merged_into_the_checkpoint(tmp_path, episodes, cell):
    settings = {"episodes": episodes, **SHORT}
    finetune(FinetuneConfig(output=tmp_path / "base", policy=tiny("pi0"), **settings))
    adapters = Pi0Options(preset="tiny", train="lora", lora_rank=2)
    settings |= {"policy": adapters, "init": tmp_path / "base"}
    lora = FinetuneConfig(output=tmp_path / "lora", **settings)
    assert finetune(lora) == 0
    base, tuned = weights(tmp_path / "base"), weights(tmp_path / "lora")
    assert set(base) == set(tuned)
    assert any(not torch.equal(base[name], tuned[name]) for name in base)
    policy = load_policy(tmp_path / "lora", cell)
    first = read_trajectories(episodes)[0]
    observation = Observation(state=first.state[0], environment=first.environment[0], stamp_ns=0)
    assert np.isfinite(policy.infer(observation, 0)).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_training_goes_on_from_half_precision_weights_in_fp32(tmp_path, episodes, policy):
    settings = {"episodes": episodes, "policy": tiny(policy), **SHORT}
    finetune(FinetuneConfig(output=tmp_path / "first", **settings))
    half = {name: value.bfloat16() for name, value in weights(tmp_path / "first").items()}
    stored = load_checkpoint(tmp_path / "first")
    save_checkpoint(tmp_path / "half", dataclasses.replace(stored, weights=half))
    config = FinetuneConfig(output=tmp_path / "again", init=tmp_path / "half", **settings)
    fresh = FinetuneConfig(output=tmp_path / "fresh", **settings)
    made = policy_config(config, read_trajectories(episodes)[0])
    given, drawn = (build_policy(c, made, stored.contract) for c in (config, fresh))
    for name, parameter in given.named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, half[name].float())
        assert parameter.requires_grad == drawn.get_parameter(name).requires_grad
    assert finetune(config) == 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tokenizer": "bytes"}, "tokenizer is bytes, .* --policy.language True"),
        ({"freeze_vision": True}, "freeze_vision is True, .* --variant vision"),
    ],
)
def test_what_the_policy_would_not_read_is_refused(tmp_path, episodes, fields, words):
    policy = Pi0Options(preset="tiny", **fields)
    with pytest.raises(UsageError, match=words):
        finetune(FinetuneConfig(episodes=episodes, output=tmp_path, policy=policy, **SHORT))


def test_rdt_refuses_differences_which_its_vector_has_no_place_for(tmp_path, episodes):
    with pytest.raises(UsageError, match=r"policy:rdt cannot learn .*--actions absolute"):
        FinetuneConfig(
            episodes=episodes, output=tmp_path, actions="relative", policy=tiny("rdt"), **SHORT
        )


def test_of_an_rdt_that_was_trained_here_every_prediction_is_masked(tmp_path, episodes):
    config = FinetuneConfig(
        episodes=episodes, output=tmp_path / "run", policy=tiny("rdt"), **SHORT
    )
    finetune(config)
    assert load_checkpoint(tmp_path / "run").model["masked"] == "prediction"


def test_a_start_of_another_preset_is_refused(tmp_path, episodes):
    base = FinetuneConfig(episodes=episodes, output=tmp_path / "base", policy=FLOW, **SHORT)
    finetune(base)
    other = {"init": tmp_path / "base", "output": tmp_path / "on", "policy": FlowOptions()}
    with pytest.raises(
        UsageError, match=r"is of preset tiny, this run of small: give --policy.preset tiny"
    ):
        finetune(dataclasses.replace(base, **other))


def test_encoders_that_are_missing_are_named_before_weights_are_drawn(
    tmp_path, episodes, monkeypatch
):
    monkeypatch.setattr(command, "build_policy", None)
    policy = RdtOptions(preset="full")
    config = FinetuneConfig(episodes=episodes, output=tmp_path / "run", policy=policy, steps=1)
    with pytest.raises(CheckpointError, match="text_encoder is ''"):
        finetune(config)


def test_relative_actions_come_back_as_joint_targets(tmp_path, episodes, cell):
    config = FinetuneConfig(
        episodes=episodes,
        output=tmp_path / "run",
        actions="relative",
        policy=FLOW,
        **{**SHORT, "steps": 300, "optim": OptimOptions(batch=32)},
    )
    finetune(config)
    policy = load_policy(tmp_path / "run", cell)
    first = read_trajectories(episodes)[0]
    observation = Observation(state=first.state[5], environment=first.environment[5], stamp_ns=0)
    error = policy.infer(observation, 0) - first.action[5:25]
    assert np.abs(error).mean() < 0.1 * np.ptp(first.action)


def test_bf16_trains_close_to_fp32(tmp_path, episodes):
    settings = {"episodes": episodes, "policy": tiny("diffusion"), **SHORT}
    for precision in ("fp32", "bf16"):
        finetune(FinetuneConfig(output=tmp_path / precision, precision=precision, **settings))
    full, half = losses(tmp_path / "fp32"), losses(tmp_path / "bf16")
    assert full != half
    assert half == pytest.approx(full, rel=0.02)
    saved = weights(tmp_path / "bf16").values()
    assert all(value.dtype == torch.float32 for value in saved if value.is_floating_point())


def test_metrics_go_to_tensorboard_too(tmp_path, episodes):
    config = FinetuneConfig(
        episodes=episodes, output=tmp_path / "run", log_to=("tensorboard",), **SHORT
    )
    finetune(config)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [entry.step for entry in events.Scalars("loss")] == [1, 2, 3, 4]
    values = [entry.value for entry in events.Scalars("loss")]
    assert values == pytest.approx(losses(tmp_path / "run"), rel=1e-6)


def refuse_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 ...")


def refuse_shortly():
    raise MemoryError


@pytest.mark.parametrize(
    ("full", "told"),
    [
        (refuse_gpu, "CUDA out of memory"),
        (refuse_shortly, "MemoryError"),
        (lambda: torch.empty(1 << 50), "can't allocate memory"),
        (lambda: np.empty(1 << 50), "Unable to allocate 8.00 PiB"),
    ],
    ids=["gpu", "short", "cpu", "numpy"],
)
def test_running_out_of_memory_says_what_to_try(tmp_path, episodes, monkeypatch, full, told):
    monkeypatch.setattr(command, "loss_of", lambda *_: full())
    config = FinetuneConfig(episodes=episodes, output=tmp_path / "run", **SHORT)
    with pytest.raises(
        TrainingError, match=rf"^out of memory \(.*{told}.*\): .*--optim.accumulate 2.*bf16"
    ):
        finetune(config)


def test_chunks_keep_the_length_of_the_network_that_a_run_starts_from(tmp_path, episodes):
    base = FinetuneConfig(
        episodes=episodes, output=tmp_path / "base", policy=FLOW, horizon=8, **SHORT
    )
    finetune(base)
    on = dataclasses.replace(base, output=tmp_path / "on", init=base.output, horizon=None)
    assert finetune(on) == 0
    assert load_checkpoint(on.output).model["horizon"] == 8
    assert finetune(dataclasses.replace(on, resume=True)) == 0
    with pytest.raises(CheckpointError, match="is of kind flow, must be diffusion"):
        finetune(dataclasses.replace(on, output=tmp_path / "other", policy=tiny("diffusion")))
