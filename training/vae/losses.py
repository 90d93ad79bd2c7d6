"""Losses of the action VAE: reconstruction, KL, MMD (InfoVAE, Zhao et al. 2017).

L = SmoothL1(a_hat, a) + w_kl KL + w_mmd MMD, each a mean over its elements.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Distance = Literal["sum", "mean"]

KERNEL_VARIANCE = 2.0
"""sigma_z^2 in the kernel's scale C = 2 d sigma_z^2, as in the released code."""


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, diag(variance)) over the latent, each (L,)."""

    mean: Tensor
    """m."""
    variance: Tensor
    """S, positive."""

    @classmethod
    def standard(cls, size: int) -> "DiagonalGaussian":
        """N(0, I)."""
        return cls(torch.zeros(size), torch.ones(size))

    def to(self, device: torch.device) -> "DiagonalGaussian":
        """In float32 on a device."""
        return DiagonalGaussian(self.mean.to(device).float(), self.variance.to(device).float())

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, L)."""
        eps = torch.randn(count, len(self.mean), generator=generator)
        return self.mean + self.variance.sqrt() * eps


def kl_to_prior(mean: Tensor, log_variance: Tensor, prior: DiagonalGaussian) -> Tensor:
    """KL(q(z|a) || prior), the paper's direction in both stages; mean over (B, L).

    1/2 [ log(S / sigma^2) + (sigma^2 + (mu - m)^2) / S - 1 ]
    """
    ratio = (log_variance.exp() + (mean - prior.mean).square()) / prior.variance
    return 0.5 * (prior.variance.log() - log_variance + ratio - 1.0).mean()


def kl_from_prior(mean: Tensor, log_variance: Tensor, prior: DiagonalGaussian) -> Tensor:
    """KL(prior || q(z|a)), the released code's direction in stage 2; mean over (B, L)."""
    ratio = (prior.variance + (mean - prior.mean).square()) * torch.exp(-log_variance)
    return 0.5 * (log_variance - prior.variance.log() + ratio - 1.0).mean()


def mmd(x: Tensor, y: Tensor, *, distance: Distance = "sum", diagonal: bool = False) -> Tensor:
    """Squared MMD with WAE's inverse multiquadratic kernel; unbiased without the diagonals.

    k(x, y) = C / (C + ||x - y||^2) with C = 2 d sigma_z^2 and the distance summed over the d
    dimensions. A mean instead of the sum, as in the released code, makes all kernel values nearly
    1, and the loss then sees first moments only.

    Args:
        x: (B, L).
        y: (B', L), samples of the prior.
        distance: Over the dimensions; 'mean' is for comparison.
        diagonal: Keep k(x, x) = 1 in the means.
    """
    scale = 2.0 * x.shape[1] * KERNEL_VARIANCE * (1.0 if distance == "sum" else x.shape[1])
    own = [_mean(_kernel(points, points, scale), diagonal) for points in (x, y)]
    return own[0] + own[1] - 2.0 * _kernel(x, y, scale).mean()


def _kernel(x: Tensor, y: Tensor, scale: float) -> Tensor:
    squared = (x.square().sum(1)[:, None] + y.square().sum(1) - 2.0 * x @ y.T).clamp(min=0.0)
    return scale / (scale + squared)


def _mean(kernel: Tensor, diagonal: bool) -> Tensor:
    count = len(kernel)
    if diagonal:
        return kernel.mean()
    return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))
