import dataclasses

import pytest
import torch

from ate_core.errors import CheckpointError
from training.vae.losses import DiagonalGaussian
from training.vae.model import ActionVae, VaeConfig
from training.vae.moments import MomentAccumulator, aggregate_moments

SMALL = VaeConfig(horizon=6, action_size=3, latent=8, width=16, heads=2, feedforward=32)


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return ActionVae(SMALL).eval()


def chunks(count=7, seed=0):
    return torch.randn(count, 6, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_shapes_hold_for_any_number_of_layers(layers):
    sizes = {"horizon": 6, "action_size": 3, "latent": 8, "width": 16}
    vae = ActionVae(VaeConfig(encoder_layers=layers, decoder_layers=layers, **sizes))
    a_hat, z, mean, log_variance = vae(chunks(), torch.zeros(7, 8))
    assert a_hat.shape == (7, 6, 3)
    assert z.shape == mean.shape == log_variance.shape == (7, 8)


def test_every_parameter_learns(vae):
    a_hat, *_, log_variance = vae(chunks(), torch.ones(7, 8))
    (a_hat.square().mean() + log_variance.square().mean()).backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0.0, name


def test_samples_do_not_see_each_other(vae):
    batch = chunks()
    together = vae(batch, torch.zeros(7, 8))[0]
    alone = torch.cat([vae(one[None], torch.zeros(1, 8))[0] for one in batch])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_the_linear_head_lets_the_mean_leave_the_norms_sphere():
    linear = ActionVae(SMALL)
    norm = ActionVae(VaeConfig(horizon=6, action_size=3, latent=16, width=16, latent_head="norm"))
    radii = norm.encode(chunks())[0].norm(dim=1)
    torch.testing.assert_close(radii, torch.full((7,), 4.0), atol=1e-2, rtol=0)
    assert linear.encode(chunks())[0].norm(dim=1).std() > 1e-3


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(CheckpointError, match="multiple of heads"):
        dataclasses.replace(SMALL, width=30, heads=4)
    with pytest.raises(CheckpointError, match="latent 8 == width 16"):
        dataclasses.replace(SMALL, width=16, latent=8, latent_head="norm")


def test_moments_are_those_of_sampled_latents(vae):
    batch = chunks(200)
    moments = aggregate_moments(vae, batch, batch=64)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        mean, log_variance = vae.encode(batch.repeat(500, 1, 1))
    eps = torch.randn(mean.shape, generator=generator)
    z = mean + torch.exp(0.5 * log_variance) * eps
    torch.testing.assert_close(moments.mean.float(), z.mean(0), atol=0.02, rtol=0.0)
    torch.testing.assert_close(moments.variance.float(), z.var(0), atol=0.02, rtol=0.02)


def test_moments_do_not_depend_on_the_batches():
    generator = torch.Generator().manual_seed(0)
    mean = 1e4 + torch.randn(100, 3, generator=generator, dtype=torch.float64)
    log_variance = torch.randn(100, 3, generator=generator, dtype=torch.float64)

    def moments(size):
        accumulator = MomentAccumulator(3)
        for first in range(0, 100, size):
            accumulator.add(mean[first : first + size], log_variance[first : first + size])
        return accumulator.result()

    whole, pieces = moments(100), moments(7)
    expected = log_variance.exp().mean(0) + mean.var(0, correction=0)
    torch.testing.assert_close(whole.variance, expected)
    torch.testing.assert_close(pieces.variance, expected)
    torch.testing.assert_close(pieces.mean, whole.mean)


def test_moments_include_the_spread_of_the_means():
    accumulator = MomentAccumulator(1)
    accumulator.add(torch.tensor([[-1.0], [1.0]]), torch.full((2, 1), 0.25).log())
    result = accumulator.result()
    assert isinstance(result, DiagonalGaussian)
    assert result.variance.item() == pytest.approx(1.25)  # E[sigma^2] + Var[mu]
