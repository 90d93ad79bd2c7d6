import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from training.vae.losses import DiagonalGaussian, kl_from_prior, kl_to_prior, mmd


@pytest.fixture
def posterior():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(5, 8, generator=generator)
    return mean, torch.randn(5, 8, generator=generator)


@pytest.fixture
def prior():
    generator = torch.Generator().manual_seed(1)
    return DiagonalGaussian(
        torch.randn(8, generator=generator), torch.rand(8, generator=generator) + 0.2
    )


def as_distributions(posterior, prior):
    mean, log_variance = posterior
    q = Independent(Normal(mean, torch.exp(0.5 * log_variance)), 1)
    p = Independent(Normal(prior.mean, prior.variance.sqrt()).expand(mean.shape), 1)
    return q, p


def test_reverse_kl_is_that_of_torch_per_dimension(posterior, prior):
    q, p = as_distributions(posterior, prior)
    torch.testing.assert_close(kl_to_prior(*posterior, prior), kl_divergence(q, p).mean() / 8)


def test_forward_kl_is_that_of_torch_per_dimension(posterior, prior):
    q, p = as_distributions(posterior, prior)
    torch.testing.assert_close(kl_from_prior(*posterior, prior), kl_divergence(p, q).mean() / 8)


def test_kl_by_hand():
    # KL(N(1, 4) || N(0, 1)) = (4 + 1 - 1 - ln 4) / 2
    mean, log_variance = torch.ones(1, 1), torch.full((1, 1), 4.0).log()
    standard = DiagonalGaussian.standard(1)
    assert kl_to_prior(mean, log_variance, standard).item() == pytest.approx(1.3068528)
    # KL(N(0, 1) || N(1, 4)) = (ln 4 + (1 + 1) / 4 - 1) / 2
    assert kl_from_prior(mean, log_variance, standard).item() == pytest.approx(0.4431472)


def test_mmd_by_hand():
    # d = 1, C = 4; pairs within x: |2|^2 -> 4 / 8; within y: 4 / 8; across: 1, 1/2, 1/2, 1
    x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [2.0]])
    assert mmd(x, y).item() == pytest.approx(0.5 + 0.5 - 2.0 * 0.75)


def test_mmd_sees_scale_and_not_only_the_mean():
    generator = torch.Generator().manual_seed(0)
    standard = torch.randn(2000, 32, generator=generator)
    same = torch.randn(2000, 32, generator=generator)
    wide = 2.0 * torch.randn(2000, 32, generator=generator)
    assert abs(mmd(same, standard).item()) < 1e-3
    assert mmd(wide, standard).item() > 0.05


def test_mmd_is_unbiased():
    generator = torch.Generator().manual_seed(0)
    values = [
        mmd(torch.randn(16, 4, generator=generator), torch.randn(16, 4, generator=generator))
        for _ in range(1000)
    ]
    values = torch.stack(values)
    standard_error = values.std() / len(values) ** 0.5
    assert values.mean().abs() < 3.0 * standard_error
    assert standard_error < 1e-3  # with the diagonals the mean would be 2 (1 - E[k]) / 16


def test_prior_samples_have_its_moments(prior):
    samples = prior.sample(40_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(samples.mean(0), prior.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(samples.var(0), prior.variance, atol=0.03, rtol=0)
