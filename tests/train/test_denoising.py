import pytest
import torch

from ate_policy.models.schedules import diffusion_process
from ate_policy.noise import FlowProcess, clean_estimate, mix, target_of
from training.objectives.denoising import shifted_target, target_weight

PREDICTIONS = ("velocity_paper", "velocity_pi0", "epsilon", "sample", "v")


def draw(seed=0, shape=(6, 4, 3)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def process_of(prediction):
    if prediction in ("epsilon", "v"):
        return diffusion_process(100, prediction)
    return FlowProcess(prediction=prediction)


def noised_of(prediction):
    process = process_of(prediction)
    level = torch.tensor([5, 20, 40, 60, 80, 98])
    if isinstance(process, FlowProcess):
        level = level.double() / 100.0
    return mix(process, draw(0), level, draw(1))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_usual_target_stands_for_the_clean_chunk(prediction):
    noised = noised_of(prediction)
    target = target_of(prediction, noised)
    clean = clean_estimate(prediction, target, noised.noisy, noised.signal, noised.sigma)
    torch.testing.assert_close(clean, noised.actions, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_guidance_moves_the_clean_estimate_alike_in_every_parameterisation(prediction):
    noised, g, strength = noised_of(prediction), draw(2), 0.7
    s, n = (value[:, None, None] for value in (noised.signal, noised.sigma))
    target = target_of(prediction, noised)
    moved = shifted_target(prediction, target, -strength * n / s * g, noised.signal, noised.sigma)
    clean = clean_estimate(prediction, moved, noised.noisy, noised.signal, noised.sigma)
    expected = noised.actions - n**2 / s * strength * g
    torch.testing.assert_close(clean, expected, atol=1e-4, rtol=1e-5)
    # the weights of the facts: v - w lambda g, u + w lambda g, eps + w lambda g, ...
    weight = target_weight(prediction, noised.signal, noised.sigma, 1e-9)
    torch.testing.assert_close(moved, target - weight * strength * g)


def test_weights_are_those_of_the_paper():
    s, n = torch.tensor([0.6]), torch.tensor([0.8])
    weights = [target_weight(name, s, n, 0.05).item() for name in PREDICTIONS]
    # (1 - tau) / tau with its sign; sqrt(1 - alpha_bar); (1 - alpha_bar) / sqrt(alpha_bar)
    assert weights == pytest.approx([0.8 / 0.6, -0.8 / 0.6, -0.8, 0.64 / 0.6, -0.8 / 0.6])


def test_weights_are_finite_at_pure_noise_and_zero_at_the_chunk():
    s, n = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    for name in PREDICTIONS:
        weight = target_weight(name, s, n, 0.05).flatten()
        assert torch.isfinite(weight).all() and weight[1] == 0.0
        assert weight[0].abs() == (0.0 if name == "epsilon" else 20.0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_singular_ends_are_finite(prediction):
    process = process_of(prediction)
    level = torch.tensor([0.0, 1.0]) if isinstance(process, FlowProcess) else torch.tensor([0, 99])
    noised = mix(process, draw(0, (2, 4, 3)).float(), level, draw(1, (2, 4, 3)).float())
    target = target_of(prediction, noised)
    clean = clean_estimate(prediction, target, noised.noisy, noised.signal, noised.sigma)
    assert torch.isfinite(clean).all()


def test_both_flow_conventions_are_one_path():
    paper = mix(FlowProcess(prediction="velocity_paper"), draw(), torch.full((6,), 0.3), draw(1))
    pi0 = mix(FlowProcess(prediction="velocity_pi0"), draw(), torch.full((6,), 0.7), draw(1))
    torch.testing.assert_close(paper.noisy, pi0.noisy)
    first, second = target_of("velocity_paper", paper), target_of("velocity_pi0", pi0)
    torch.testing.assert_close(first, -second)


def test_pi0_draws_its_times_towards_the_noise():
    process = FlowProcess(prediction="velocity_pi0", beta=(1.5, 1.0))
    t = process.draw_levels(100_000, torch.Generator().manual_seed(0))
    assert t.min() >= 0.001 and t.max() <= 1.0
    assert t.mean().item() == pytest.approx(0.001 + 0.999 * 0.6, abs=0.003)  # Beta(1.5, 1): 3/5
    assert (t > 0.95).float().mean().item() == pytest.approx(0.074, abs=0.003)


def test_flow_times_are_uniform_and_mix_chunk_and_noise():
    tau = FlowProcess().draw_levels(100_000, torch.Generator().manual_seed(0))
    assert tau.min() >= 0.0 and tau.max() < 1.0
    assert tau.mean().item() == pytest.approx(0.5, abs=0.003)
    assert tau.var().item() == pytest.approx(1.0 / 12.0, abs=0.001)
    a, eps, tau = draw(), draw(seed=1), tau[:6].double()
    mixed = tau[:, None, None] * a + (1.0 - tau)[:, None, None] * eps
    torch.testing.assert_close(mix(FlowProcess(), a, tau, eps).noisy, mixed)
