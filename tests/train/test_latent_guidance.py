import pytest
import torch

from training.objectives.flow import clean_loss, draw_noise
from training.objectives.latent_guidance import (
    LatentMetric,
    PaperGuidance,
    PlainFlow,
    ShiftBounds,
    bounded_shift,
    guidance_gradient,
)
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
    return draw_noise(actions, torch.Generator().manual_seed(seed + 1))


def test_g_of_a_linear_encoder_has_its_closed_form():
    encoder = LinearEncoder(12, 5)
    batch = batch_of()
    a, tau = batch.actions.double(), batch.tau.double()[:, None, None]
    eps = (batch.actions - batch.velocity).double()
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


def test_the_shift_never_exceeds_its_share_of_the_velocity():
    g, v = torch.randn(2, 64, 4, 3, generator=torch.Generator().manual_seed(0))
    tau = torch.linspace(0.0, 1.0, 64)
    bounds = ShiftBounds(strength=100.0, tau_floor=0.05, cap=0.1)
    shift, figures = bounded_shift(g, v, tau, bounds)
    ratio = shift.flatten(1).norm(dim=1) / v.flatten(1).norm(dim=1)
    assert ratio.max() <= 0.1 + 1e-6
    assert torch.isfinite(shift).all()
    assert figures["cap_fraction"] == pytest.approx(63 / 64)  # the weight is 0 at tau = 1
    assert set(figures) == {"cap_fraction", "shift_ratio", "cosine"}


def test_a_small_shift_is_not_capped():
    g, v = torch.randn(2, 8, 4, 3, generator=torch.Generator().manual_seed(0))
    tau = torch.full((8,), 0.5)
    shift, figures = bounded_shift(g, v, tau, ShiftBounds(strength=1e-3))
    torch.testing.assert_close(shift, 1e-3 * g)
    assert figures["cap_fraction"] == 0.0


def test_strength_zero_is_bit_identical_to_no_guidance(vae):
    batch = batch_of()
    a_hat = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(5), requires_grad=True)
    results = []
    for guidance in (
        PlainFlow(),
        PaperGuidance(vae, ShiftBounds(strength=0.0), seed=0),
        LatentMetric(vae, 0.0, seed=0),
    ):
        loss, _ = guidance.loss(a_hat, batch)
        results.append((loss.detach(), torch.autograd.grad(loss, a_hat)[0]))
    for loss, gradient in results[1:]:
        assert torch.equal(loss, results[0][0])
        assert torch.equal(gradient, results[0][1])


def test_paper_guidance_pulls_the_target_away_from_the_chunk(vae):
    batch = batch_of()
    guidance = PaperGuidance(vae, ShiftBounds(strength=1.0), seed=0)
    loss, figures = guidance.loss(batch.actions, batch)
    assert 0.0 < loss.item() < 0.1
    assert 0.0 < figures["shift_ratio"] <= 0.1 + 1e-6


def test_the_latent_metric_is_smallest_at_the_clean_chunk(vae):
    batch = batch_of()
    guidance = LatentMetric(vae, 1.0, seed=0)
    assert guidance.loss(batch.actions, batch)[0] == 0.0
    a_hat = (batch.actions + 0.1).requires_grad_()
    loss, _ = guidance.loss(a_hat, batch)
    assert loss > clean_loss(a_hat, batch.actions)
    assert torch.autograd.grad(loss, a_hat)[0].abs().sum() > 0.0


def test_guidance_draws_from_its_own_generator(vae):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    PaperGuidance(vae, ShiftBounds(), seed=3).loss(batch_of().actions, batch_of())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_vae_is_frozen_by_guidance(vae):
    before = [p.clone() for p in vae.parameters()]
    a_hat = batch_of().actions.clone().requires_grad_()
    for guidance in (PaperGuidance(vae, ShiftBounds(), 0), LatentMetric(vae, 1.0, 0)):
        guidance.loss(a_hat, batch_of(seed=1))[0].backward()
    assert all(p.grad is None for p in vae.parameters())
    assert all(torch.equal(p, old) for p, old in zip(vae.parameters(), before, strict=True))
