"""Guidance mode `anchor`: the distance to the initial policy as a second loss."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import torch

from ate_core.errors import UsageError
from ate_policy.checkpoint import load_checkpoint, resolve_checkpoint
from ate_policy.models.diffusion_policy import DiffusionOptions
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.models.pi0_entry import Pi0Options
from ate_policy.noise import FlowProcess, mix, target_of
from training import finetune as command
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.configs.study import StudyConfig, parse_arm
from training.finetune import finetune
from training.objectives.anchor import Anchor, AnchorGuidance
from training.study import make_jobs

SHORT = {"steps": 4, "optim": OptimOptions(batch=8), "log_every": 1, "save_every": 2}
NETWORKS = {
    "flow": FlowOptions(preset="tiny"),
    "diffusion": DiffusionOptions(preset="tiny"),
    "pi0": Pi0Options(preset="tiny"),
}


@pytest.fixture(scope="module")
def start(tmp_path_factory, episodes):
    """A pre-trained checkpoint of a network by name, made once."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "run"
            finetune(
                FinetuneConfig(
                    episodes=episodes, output=made[name], policy=NETWORKS[name], **SHORT
                )
            )
        return made[name]

    return of


def weights(run):
    return load_checkpoint(run).weights


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def logged(run, key="loss"):
    return [json.loads(line)[key] for line in (run / "log.jsonl").read_text().splitlines()]


def anchored(episodes, init, output, strength=1.0, policy="flow", **settings):
    return FinetuneConfig(
        episodes=episodes,
        init=init,
        output=output,
        policy=NETWORKS[policy],
        guidance=AnchorGuidance(strength=strength),
        seed=1,
        **{**SHORT, **settings},
    )


def test_the_loss_and_its_gradient_are_those_of_a_hand_computation():
    generator = torch.Generator().manual_seed(0)
    a, eps, output, reference = torch.randn(4, 3, 2, 5, generator=generator)
    tau = torch.tensor([0.1, 0.5, 0.9])
    noised = mix(FlowProcess(prediction="velocity_paper"), a, tau, eps)
    noised = dataclasses.replace(noised, reference=reference)
    output.requires_grad_()
    loss, metrics = Anchor(0.3).loss("velocity_paper", output, noised, torch.empty(3, 0), 0)
    x, v = output.detach().double().numpy(), (a - eps).double().numpy()
    v_0 = reference.double().numpy()
    by_hand = np.mean((x - v) ** 2) + 0.3 * np.mean((x - v_0) ** 2)
    slope = 2.0 / x.size * ((x - v) + 0.3 * (x - v_0))
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)
    np.testing.assert_allclose(torch.autograd.grad(loss, output)[0], slope, rtol=1e-5, atol=1e-8)
    assert metrics["anchor_distance"].item() == pytest.approx(np.mean((x - v_0) ** 2), rel=1e-6)


@pytest.mark.parametrize(
    "prediction", ["velocity_paper", "velocity_pi0", "epsilon", "sample", "v"]
)
def test_the_optimum_lies_between_the_target_and_the_initial_policy(prediction):
    a, eps, reference = torch.randn(3, 2, 4, 3, generator=torch.Generator().manual_seed(1))
    noised = mix(FlowProcess(prediction=prediction), a, torch.tensor([0.2, 0.7]), eps)
    noised = dataclasses.replace(noised, reference=reference)
    best = ((target_of(prediction, noised) + 3.0 * reference) / 4.0).requires_grad_()
    loss, _ = Anchor(3.0).loss(prediction, best, noised, torch.empty(2, 0), 0)
    assert torch.autograd.grad(loss, best)[0].abs().max() < 1e-7


@pytest.mark.parametrize("policy", NETWORKS)
def test_weight_zero_is_bit_identical_to_plain_and_another_weight_is_not(
    tmp_path, episodes, start, policy
):
    init = start(policy)
    zero = anchored(episodes, init, tmp_path / "zero", 0.0, policy)
    plain = dataclasses.replace(
        zero, output=tmp_path / "plain", guidance=parse_arm("none").guidance(None)
    )
    strong = anchored(episodes, init, tmp_path / "strong", 10.0, policy)
    for config in (plain, zero, strong):
        assert finetune(config) == 0
    assert equal(weights(tmp_path / "plain"), weights(tmp_path / "zero"))
    assert logged(tmp_path / "plain") == logged(tmp_path / "zero")
    distance = logged(tmp_path / "strong", "anchor_distance")
    assert distance[0] == 0.0 < distance[-1]  # the first step has moved nothing yet
    assert logged(tmp_path / "strong")[0] == logged(tmp_path / "plain")[0]
    assert not equal(weights(tmp_path / "plain"), weights(tmp_path / "strong"))


def test_a_strong_anchor_stays_closer_to_the_initial_policy(tmp_path, episodes, start):
    distances = []
    for strength in (1e-6, 100.0):
        output = tmp_path / str(strength)
        finetune(anchored(episodes, start("flow"), output, strength, steps=30, save_every=30))
        distances.append(np.mean(logged(output, "anchor_distance")[-5:]))
    assert distances[1] < 0.5 * distances[0]


@pytest.mark.parametrize("policy", ["flow", "diffusion"])
def test_a_stopped_run_goes_on_to_the_bit(tmp_path, episodes, start, policy, stop_at):
    whole = anchored(episodes, start(policy), tmp_path / "whole", policy=policy)
    assert finetune(whole) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "loss_of", command.loss_of)
        stop_at(2)
        assert finetune(dataclasses.replace(whole, output=tmp_path / "cut")) == 130
    again = dataclasses.replace(whole, output=tmp_path / "cut", resume=True)
    assert finetune(again) == 0
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert logged(tmp_path / "whole") == logged(tmp_path / "cut")


def test_the_initial_policy_is_no_part_of_the_checkpoint(tmp_path, episodes, start):
    finetune(anchored(episodes, start("flow"), tmp_path / "run"))
    kept = load_checkpoint(tmp_path / "run")
    assert kept.weights.keys() == weights(start("flow")).keys()
    files = {file.name for file in resolve_checkpoint(tmp_path / "run").iterdir()}
    assert files == {file.name for file in resolve_checkpoint(start("flow")).iterdir()}
    other = resolve_checkpoint(start("flow")) / "training_state.safetensors"
    mine = resolve_checkpoint(tmp_path / "run") / "training_state.safetensors"
    assert mine.stat().st_size == pytest.approx(other.stat().st_size, rel=0.01)


def test_a_run_is_not_resumed_with_another_initial_policy(tmp_path, episodes, start):
    shutil.copytree(start("flow"), tmp_path / "init", symlinks=True)
    config = anchored(episodes, tmp_path / "init", tmp_path / "run")
    finetune(config)
    (tmp_path / "init" / "last").unlink()
    (tmp_path / "init" / "last").symlink_to("step_000002")  # as if it had been trained again
    with pytest.raises(UsageError, match=r"the initial policy is not the one.*put back"):
        finetune(dataclasses.replace(config, resume=True))


def test_rows_that_are_given_clean_are_no_part_of_the_distance(
    tmp_path, episodes, start, monkeypatch
):
    init = tmp_path / "init"
    flow = NETWORKS["flow"]
    fresh = {**SHORT, "steps": 2}
    finetune(FinetuneConfig(episodes=episodes, output=init, max_delay=19, policy=flow, **fresh))
    seen = []
    original = Anchor.loss

    def watching(self, prediction, output, *others, **named):
        loss, metrics = original(self, prediction, output, *others, **named)
        seen.append(torch.autograd.grad(loss, output, retain_graph=True)[0])
        return loss, metrics

    monkeypatch.setattr(Anchor, "loss", watching)
    config = anchored(episodes, init, tmp_path / "run", steps=2)
    finetune(config)
    assert (seen[-1].flatten(1).abs().amax(1) > 0).all()
    assert (seen[-1][:, 0] == 0.0).all(dim=1).float().mean() > 0.5  # most rows begin clean


def test_an_anchor_without_a_pretrained_policy_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"guidance:anchor .*give --init"):
        FinetuneConfig(episodes=tmp_path, output=tmp_path, guidance=AnchorGuidance())
    with pytest.raises(UsageError, match=r"use_toaster starts from random weights.*--pretrained"):
        StudyConfig(output=tmp_path, guidance=("none", "anchor:0.3"), pretrained=("pick_place",))
    with pytest.raises(UsageError, match="strength"):
        AnchorGuidance(strength=-1.0)


def test_a_study_gives_the_anchor_a_weight_and_no_action_vae(tmp_path):
    arm = parse_arm("anchor:0.3")
    assert arm.guidance(None) == AnchorGuidance(strength=0.3)
    with pytest.raises(UsageError, match="reads no action VAE"):
        parse_arm("anchor:untrained")
    task = ("pick_place",)
    config = StudyConfig(
        output=tmp_path, tasks=task, pretrained=task, guidance=("none", "anchor"), seeds=1
    )
    assert not any(re.search("VAE", name) for name in make_jobs(config))
