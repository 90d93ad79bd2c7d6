"""Training with delays: rows given clean teach nothing, and the checkpoint knows of them."""

import json

import numpy as np
import pytest
import torch

from ate_core.errors import CheckpointError
from ate_core.observation import Observation
from ate_policy.continuation import Continuation
from ate_policy.models.diffusion_policy import DiffusionOptions
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.noise import FlowProcess, mix
from ate_policy.policy import load_policy
from training import finetune as command
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.data.corrections import batch_weights
from training.data.sampler import Batch
from training.data.trajectory import read_trajectories
from training.finetune import finetune, loss_of
from training.objectives.denoising import PlainDenoising

SHORT = {"steps": 4, "save_every": 4, "optim": OptimOptions(batch=16)}


@pytest.fixture(scope="module")
def episodes(tmp_path_factory, write_demonstrations):
    return write_demonstrations(tmp_path_factory.mktemp("delays") / "episodes", count=2, ticks=30)


class Whole:
    """A network whose own action space is the layout's."""

    process = FlowProcess(prediction="velocity_paper")
    extract = staticmethod(lambda chunk: chunk)


def test_the_loss_is_the_mean_over_the_rows_that_are_not_given():
    generator = torch.Generator().manual_seed(0)
    actions, noise, output = torch.randn(3, 2, 5, 4, generator=generator)
    noised = mix(Whole.process, actions, torch.tensor([0.2, 0.7]), noise)
    clean = torch.zeros(2, 5, 1, dtype=torch.bool)
    clean[0, :2] = clean[1, :1] = True
    object.__setattr__(noised, "clean", clean)
    torch.testing.assert_close(noised.noisy[0, :2], actions[0, :2])
    output.requires_grad_()
    weight = batch_weights(torch.ones(2, 5), clean)[..., None]
    batch = Batch(inputs=None, noised=noised, eps=torch.empty(2, 0), weight=weight)
    loss, _ = loss_of(Whole, PlainDenoising(), output, batch, 0)
    squares = (output - (actions - noise)).square()[~clean.expand_as(output)]
    torch.testing.assert_close(loss, squares.mean())
    loss.backward()
    assert not output.grad[clean.expand_as(output)].any()
    assert output.grad[~clean.expand_as(output)].all()


def test_what_is_learned_with_delays_does_not_depend_on_the_size_of_a_forward_pass(
    tmp_path, episodes
):
    norms = []
    for accumulate in (1, 8):
        run, optim = tmp_path / str(accumulate), OptimOptions(batch=16, accumulate=accumulate)
        settings = {"steps": 1, "save_every": 1, "log_every": 1, "max_delay": 6}
        tiny = FlowOptions(preset="tiny")
        config = FinetuneConfig(
            episodes=episodes, output=run, policy=tiny, optim=optim, **settings
        )
        assert finetune(config) == 0
        norms.append(json.loads((run / "log.jsonl").read_text())["gradient_norm"])
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_a_policy_trained_with_delays_goes_on_exactly_with_the_rows_it_is_given(
    tmp_path, episodes, cell
):
    run = tmp_path / "run"
    tiny = FlowOptions(preset="tiny")
    config = FinetuneConfig(episodes=episodes, output=run, policy=tiny, max_delay=6, **SHORT)
    assert finetune(config) == 0
    policy = load_policy(run, cell)
    assert policy.config.max_delay == 6
    first = read_trajectories(episodes)[0]
    observation = Observation(state=first.state[0], environment=first.environment[0], stamp_ns=0)
    old = Continuation(actions=first.action[:12], delay=5)
    chunk = policy.infer(observation, 0, old)
    np.testing.assert_allclose(chunk[:5], first.action[:5], atol=1e-5)
    assert np.abs(chunk[5:12] - first.action[5:12]).max() > 1e-3


def test_delays_are_drawn_up_to_the_longest_and_only_where_they_are_wanted(
    tmp_path, episodes, monkeypatch
):
    seen = []

    def spied(model, objective, output, batch, step):
        seen.append(batch)
        return loss_of(model, objective, output, batch, step)

    monkeypatch.setattr(command, "loss_of", spied)
    tiny = FlowOptions(preset="tiny")
    for name, delay in (("plain", None), ("none", 0), ("delays", 3)):
        settings = {"episodes": episodes, "policy": tiny, "max_delay": delay, **SHORT}
        assert finetune(FinetuneConfig(output=tmp_path / name, **settings)) == 0
    plain, none, delays = seen[:4], seen[4:8], seen[8:]
    for one, other in zip(plain, none, strict=True):
        assert one.inputs.prefix is None is one.noised.clean
        assert torch.equal(one.noised.noisy, other.noised.noisy)
    prefixes = torch.cat([batch.inputs.prefix for batch in delays])
    assert set(prefixes.tolist()) == {0, 1, 2, 3}
    assert torch.equal(plain[0].noised.noise, delays[0].noised.noise), (
        "the rest is drawn as before"
    )


def test_a_network_that_cannot_be_told_of_delays_is_refused_before_it_trains(tmp_path, episodes):
    tiny = DiffusionOptions(preset="tiny")
    settings = {"episodes": episodes, "policy": tiny, "max_delay": 3, **SHORT}
    with pytest.raises(CheckpointError, match="cannot be told which rows are clean"):
        finetune(FinetuneConfig(output=tmp_path / "run", **settings))
