"""Steering a flow policy by the distance in the latent space of an action VAE.

With E the frozen encoder of the stage-2 VAE (ATE, arXiv 2509.02055, section 4):

    y = || E(x) - E(a) ||^2      per sample, summed over the latent
    g = - dy/dx                  constant in the loss; points from the noisy to the clean chunk

E is a sample z = mu + sigma eps with the same eps on both sides, drawn from a generator of its
own, so that a guided run sees the data and noise of the plain run with the same seed.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from training.objectives.flow import FlowBatch, clean_loss, shift_clean, weight_paper

SMALL = 1e-12
"""Keeps divisions by a norm finite."""


class ChunkEncoder(Protocol):
    """Anything with the encoder of an action VAE."""

    latent: int

    def encode(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, D) -> mean and log variance, each (B, L)."""


class Guidance(Protocol):
    """A loss of the predicted clean chunk."""

    generator: torch.Generator

    def loss(self, a_hat: Tensor, batch: FlowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss, and figures for the log (scalars, without gradient)."""


@dataclass(frozen=True, kw_only=True)
class ShiftBounds:
    """What keeps the guided target finite."""

    strength: float = 1.0
    """Lambda."""
    tau_floor: float = 0.05
    """Smallest tau in the weight."""
    cap: float = 0.1
    """Largest norm of the shift relative to the velocity's, per sample."""


def latent_energy(encoder: ChunkEncoder, x: Tensor, a: Tensor, eps: Tensor) -> Tensor:
    """Squared latent distance per sample, y = ||z(x) - z(a)||^2 (B,); differentiable in x only.

    Args:
        encoder: Of the frozen VAE.
        x: (B, H, D).
        a: (B, H, D), clean.
        eps: (B, L), shared by both sides.
    """
    with torch.no_grad():
        clean = _latent(encoder, a, eps)
    return (_latent(encoder, x, eps) - clean).square().sum(-1)


def guidance_gradient(encoder: ChunkEncoder, x: Tensor, a: Tensor, eps: Tensor) -> Tensor:
    """G = -dy/dx (B, H, D); each row depends on its own sample only."""
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        energy = latent_energy(encoder, x, a, eps).sum()
    return -torch.autograd.grad(energy, x)[0]


def bounded_shift(
    g: Tensor, v: Tensor, tau: Tensor, bounds: ShiftBounds
) -> tuple[Tensor, dict[str, Tensor]]:
    """W lambda g with a floor on tau, and ||w lambda g|| <= cap ||v|| per sample.

    Args:
        g: (B, H, D).
        v: (B, H, D), velocity.
        tau: (B,).
        bounds: Lambda, floor and cap.
    """
    raw = (bounds.strength * weight_paper(tau, bounds.tau_floor))[:, None, None] * g
    norm = raw.flatten(1).norm(dim=1)
    limit = bounds.cap * v.flatten(1).norm(dim=1)
    scale = torch.where(norm > limit, limit / norm.clamp(min=SMALL), torch.ones_like(norm))
    shift = scale[:, None, None] * raw
    ratio = shift.flatten(1).norm(dim=1) / v.flatten(1).norm(dim=1).clamp(min=SMALL)
    cosine = torch.nn.functional.cosine_similarity(g.flatten(1), v.flatten(1), dim=1)
    figures = {
        "cap_fraction": (norm > limit).float().mean(),
        "shift_ratio": ratio.mean(),
        "cosine": cosine.mean(),
    }
    return shift, figures


class PlainFlow:
    """No guidance: regress the clean chunk."""

    def __init__(self) -> None:
        self.generator = torch.Generator()

    def loss(self, a_hat: Tensor, batch: FlowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Plain flow-matching loss."""
        return clean_loss(a_hat, batch.actions), {}


class PaperGuidance:
    """The paper's correction: the target is shifted by -w lambda g, bounded."""

    def __init__(self, encoder: ChunkEncoder, bounds: ShiftBounds, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._encoder = encoder
        self._bounds = bounds

    def loss(self, a_hat: Tensor, batch: FlowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss against the shifted target."""
        eps = torch.randn(len(a_hat), self._encoder.latent, generator=self.generator)
        g = guidance_gradient(self._encoder, batch.noisy, batch.actions, eps)
        shift, figures = bounded_shift(g, batch.velocity, batch.tau, self._bounds)
        return clean_loss(a_hat, shift_clean(batch.actions, shift, batch.tau)), figures


class LatentMetric:
    """Plain loss + strength * latent distance between the predicted and the clean chunk.

    The gradient passes through the frozen encoder to the policy. Both terms are smallest at the
    clean chunk, so the optimum is not moved (exactly so for a linear encoder).
    """

    def __init__(self, encoder: ChunkEncoder, strength: float, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._encoder = encoder
        self._strength = strength

    def loss(self, a_hat: Tensor, batch: FlowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Plain loss plus the latent term, per latent dimension."""
        latent = self._encoder.latent
        eps = torch.randn(len(a_hat), latent, generator=self.generator)
        distance = latent_energy(self._encoder, a_hat, batch.actions, eps).mean() / latent
        plain = clean_loss(a_hat, batch.actions)
        figures = {"latent_distance": distance.detach(), "flow_loss": plain.detach()}
        return plain + self._strength * distance, figures


def _latent(encoder: ChunkEncoder, actions: Tensor, eps: Tensor) -> Tensor:
    mean, log_variance = encoder.encode(actions)
    return mean + torch.exp(0.5 * log_variance) * eps
