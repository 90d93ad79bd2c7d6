import dataclasses
import math
from pathlib import Path

import pytest
import torch

from ate_policy.noise import FlowProcess, mix
from training.objectives.denoising import PlainDenoising, regression_loss
from training.objectives.latent_guidance import (
    ShiftBounds,
    bounded_shift,
    guidance_gradient,
    shift_metrics,
)
from training.objectives.latent_metric import LatentMetric
from training.objectives.random_shift import RandomShift
from training.objectives.reference_shift import ReferenceShift
from training.objectives.shifted_target import AnnealGuidance, ShiftedTarget, TowardGuidance
from training.vae.model import ActionVae, VaeConfig


class LinearEncoder:
    """z = W a, with a fixed log variance."""

    def __init__(self, size, latent, seed=0):
        self.latent = latent
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(latent, size, generator=generator, dtype=torch.float64)

    def encode(self, actions):
        mean = actions.flatten(1) @ self.weight.T
        return mean, torch.full_like(mean, -1.0)


@pytest.fixture
def vae():
    torch.manual_seed(0)
    config = VaeConfig(horizon=4, action_size=3, latent=8, width=16, heads=2, feedforward=32)
    return ActionVae(config).eval().requires_grad_(False)


def batch_of(count=6, seed=0):
    actions = torch.randn(count, 4, 3, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    tau = torch.rand(count, generator=generator)
    return mix(FlowProcess(), actions, tau, torch.randn(actions.shape, generator=generator))


def loss_of(objective, output, batch, step=0):
    return objective.loss("sample", output, batch, objective.draw(len(output)), step)


def test_g_of_a_linear_encoder_has_its_closed_form():
    encoder = LinearEncoder(12, 5)
    batch = batch_of()
    a, tau = batch.actions.double(), batch.level.double()[:, None, None]
    eps = batch.noise.double()
    x = tau * a + (1.0 - tau) * eps
    g = guidance_gradient(encoder, x, a, torch.zeros(6, 5, dtype=torch.float64))
    v = (a - eps).flatten(1)
    expected = 2.0 * (1.0 - tau) * (v @ encoder.weight.T @ encoder.weight).view_as(a)
    torch.testing.assert_close(g, expected)


def test_g_is_zero_at_the_clean_chunk(vae):
    actions = batch_of().actions
    g = guidance_gradient(vae, actions, actions, torch.ones(6, 8))
    assert g.abs().max() == 0.0


def test_g_does_not_depend_on_the_batch(vae):
    batch = batch_of()
    eps = torch.randn(6, 8, generator=torch.Generator().manual_seed(9))
    together = guidance_gradient(vae, batch.noisy, batch.actions, eps)
    alone = guidance_gradient(vae, batch.noisy[:1], batch.actions[:1], eps[:1])
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)


def test_g_points_downhill(vae):
    batch = batch_of()
    eps = torch.zeros(6, 8)

    def energy(x):
        return (vae.encode(x)[0] - vae.encode(batch.actions)[0]).square().sum(1)

    x = batch.noisy
    g = guidance_gradient(vae, x, batch.actions, eps)
    # with eps = 0 only means count, up to the spread of sigma, which eps multiplies
    assert (energy(x + 1e-3 * g) <= energy(x)).all()


def at_levels(tau, seed=0):
    a, eps = torch.randn(2, len(tau), 4, 3, generator=torch.Generator().manual_seed(seed))
    return mix(FlowProcess(), a, tau, eps)


def test_the_shift_never_exceeds_its_share_of_the_velocity():
    g = torch.randn(64, 4, 3, generator=torch.Generator().manual_seed(0))
    noised = at_levels(torch.linspace(0.0, 1.0, 64))
    shift, capped = bounded_shift(g, noised, ShiftBounds(strength=100.0, tau_floor=0.05, cap=0.1))
    v = (noised.actions - noised.noise).flatten(1)
    assert (shift.flatten(1).norm(dim=1) / v.norm(dim=1)).max() <= 0.1 + 1e-6
    assert torch.isfinite(shift).all()
    assert capped.sum() == 63  # the weight is 0 at tau = 1


def test_a_small_shift_is_not_capped():
    g = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(0))
    shift, capped = bounded_shift(g, at_levels(torch.full((8,), 0.5)), ShiftBounds(strength=1e-3))
    torch.testing.assert_close(shift, 1e-3 * g)
    assert not capped.any()


def test_the_log_tells_the_shift_by_noise_level():
    noised = at_levels(torch.tensor([0.1, 0.2, 0.6, 0.9]))
    shift = 0.5 * (noised.actions - noised.noise)
    capped = torch.tensor([True, False, False, False])
    metrics = shift_metrics(shift, shift, capped, noised)
    assert metrics["cap_fraction"] == 0.25
    assert metrics["shift_ratio"].item() == pytest.approx(0.5)
    assert metrics["cosine"].item() == pytest.approx(1.0)
    ratios = [metrics[f"shift_ratio_{k}"].item() for k in range(4)]
    assert ratios[0] == ratios[1] == ratios[3] == pytest.approx(0.5)
    assert math.isnan(ratios[2])  # no sample has a noise share between 0.5 and 0.75


def objectives(vae, strength):
    bounds = ShiftBounds(strength=strength)
    anneal, toward = AnnealGuidance(vae=Path("vae")), TowardGuidance(vae=Path("vae"))
    return {
        "paper": ShiftedTarget(vae, bounds, seed=0),
        "anneal": ShiftedTarget(vae, bounds, 0, lambda step: anneal.factor(step, 10)),
        "toward": ShiftedTarget(vae, bounds, 0, lambda step: toward.factor(step, 10)),
        "random": RandomShift(vae, bounds, seed=0, entries=12),
        "reference": ReferenceShift(vae, strength, 0.1, seed=0),
        "latent_metric": LatentMetric(vae, strength, seed=0),
    }


def test_equal_weights_weigh_nothing_in_any_mode_and_others_do(vae):
    batch = batch_of()
    output = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(5))
    for name, objective in objectives(vae, 0.7).items():
        eps = objective.draw(6)

        def weighed(weight, objective=objective, eps=eps):
            return objective.loss("sample", output, batch, eps, 0, weight)[0]

        torch.testing.assert_close(weighed(torch.ones(6, 4, 1)), weighed(None), msg=name)
        first = torch.zeros(6, 4, 1)
        first[0] = 6.0
        assert abs(weighed(first) - weighed(None)) > 1e-3, name


def test_strength_zero_is_bit_identical_to_no_guidance(vae):
    batch = batch_of()
    output = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(5), requires_grad=True)
    plain, _ = loss_of(PlainDenoising(), output, batch)
    gradient = torch.autograd.grad(plain, output)[0]
    for objective in objectives(vae, 0.0).values():
        loss, _ = loss_of(objective, output, batch)
        assert torch.equal(loss, plain)
        assert torch.equal(torch.autograd.grad(loss, output)[0], gradient)


def test_paper_pulls_the_target_against_g_and_toward_along_it(vae):
    batch, made = batch_of(), objectives(vae, 1.0)
    losses = {name: loss_of(made[name], batch.actions, batch) for name in ("paper", "toward")}
    # at the plain target both are off by the same shift
    torch.testing.assert_close(losses["paper"][0], losses["toward"][0])
    assert 0.0 < losses["paper"][0].item() < 0.1
    assert 0.0 < losses["paper"][1]["shift_ratio"] <= 0.1 + 1e-6
    g = guidance_gradient(vae, batch.noisy, batch.actions, objectives(vae, 1.0)["paper"].draw(6))
    ahead = batch.actions + 1e-3 * g
    made = objectives(vae, 1.0)
    assert loss_of(made["paper"], ahead, batch)[0] > loss_of(made["toward"], ahead, batch)[0]


def test_a_random_shift_is_as_large_as_the_papers_and_points_anywhere(vae):
    batch = batch_of(count=400)
    made = {name: objectives(vae, 1.0)[name] for name in ("paper", "random")}
    eps = made["random"].draw(400)
    losses, metrics = {}, {}
    for name, own in (("paper", eps[:, :8]), ("random", eps)):
        losses[name], metrics[name] = made[name].loss("sample", batch.actions, batch, own, 0)
    torch.testing.assert_close(losses["random"], losses["paper"])
    for key in ("cap_fraction", "shift_ratio"):
        torch.testing.assert_close(metrics["random"][key], metrics["paper"][key])
    assert abs(metrics["random"]["cosine"].item()) < 0.05 < metrics["paper"]["cosine"].item()


@pytest.mark.parametrize("name", ["paper", "anneal", "toward", "random", "reference"])
def test_rows_that_were_given_clean_are_seen_so_and_not_shifted(vae, name):
    clean = torch.zeros(6, 4, 1, dtype=torch.bool)
    clean[:, :2] = True
    batch = dataclasses.replace(batch_of(), clean=clean)
    objective = objectives(vae, 1e3)[name]
    output = batch.actions.clone().requires_grad_()
    eps = objective.draw(6)
    loss, metrics = objective.loss("sample", output, batch, eps, 0)
    shift = torch.autograd.grad(loss, output)[0]
    assert not shift[:, :2].any() and shift[:, 2:].abs().amax((1, 2)).gt(0.0).all()

    elsewhere = dataclasses.replace(batch, noise=torch.where(clean, 9.0, batch.noise))
    assert torch.equal(objective.loss("sample", output, elsewhere, eps, 0)[0], loss)
    if name != "reference":  # the cap is of what is predicted
        assert metrics["shift_ratio"].item() == pytest.approx(0.1, rel=1e-4)


def test_annealed_guidance_fades_to_plain(vae):
    batch = batch_of()
    losses = []
    for step in (0, 5, 10):
        objective = objectives(vae, 1.0)["anneal"]
        losses.append(loss_of(objective, batch.actions, batch, step)[0].item())
    paper = loss_of(objectives(vae, 1.0)["paper"], batch.actions, batch)[0].item()
    assert losses == pytest.approx([paper, paper / 4, 0.0], abs=1e-9)


def test_the_reference_shrinks_with_the_batch_and_is_clamped(vae):
    batch = batch_of()
    objective = ReferenceShift(vae, 1e6, 1e9, seed=0)  # no clamp to speak of
    whole = objective.draw(6)
    g = guidance_gradient(vae, batch.noisy, batch.actions, whole)
    weight = (batch.sigma**2 / batch.signal)[:, None, None]
    for rows in (slice(6), slice(1)):  # of a smaller forward pass too
        part = mix(FlowProcess(), batch.actions[rows], batch.level[rows], batch.noise[rows])
        loss, _ = objective.loss("sample", part.actions, part, whole[rows], 0)
        expected = (1e6 * weight[rows] * g[rows] / (6 * 8)).square().mean()
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0.0)
    clamped = ReferenceShift(vae, 3.0, 1e-6, seed=0)
    loss, metrics = loss_of(clamped, batch.actions, batch)
    assert loss.item() <= (3.0 * 1e-6) ** 2 * 1.001
    assert metrics["cap_fraction"] > 0.5
    target = batch.actions.flatten(1).norm(dim=1)
    assert metrics["shift_ratio"] <= (3.0 * 1e-6 * 12**0.5 / target).mean() * 1.001
    assert metrics["cosine"] > 0.0 and "shift_ratio_3" in metrics


def test_the_latent_metric_is_smallest_at_the_clean_chunk(vae):
    batch = batch_of()
    objective = LatentMetric(vae, 1.0, seed=0)
    assert loss_of(objective, batch.actions, batch)[0] == 0.0
    output = (batch.actions + 0.1).requires_grad_()
    loss, _ = loss_of(objective, output, batch)
    assert loss > regression_loss(output, batch.actions)
    assert torch.autograd.grad(loss, output)[0].abs().sum() > 0.0


def test_guidance_draws_from_its_own_generator(vae):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for objective in objectives(vae, 1.0).values():
        loss_of(objective, batch_of().actions, batch_of())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_vae_is_frozen_by_guidance(vae):
    before = [p.clone() for p in vae.parameters()]
    output = batch_of().actions.clone().requires_grad_()
    for objective in objectives(vae, 1.0).values():
        loss_of(objective, output, batch_of(seed=1))[0].backward()
    assert all(p.grad is None for p in vae.parameters())
    assert all(torch.equal(p, old) for p, old in zip(vae.parameters(), before, strict=True))
