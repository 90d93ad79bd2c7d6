"""Steering a policy by the distance in the latent space of an action VAE.

With E the frozen encoder of the stage-2 VAE (ATE, arXiv 2509.02055, section 4):

    y = || E(x) - E(a) ||^2      per sample, summed over the latent
    g = - dy/dx                  constant in the loss; points from the noisy to the clean chunk

E is a sample z = mu + sigma eps with the same eps on both sides, drawn from a generator of its
own, so that a guided run sees the data and noise of the plain run with the same seed.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ate_core.errors import UsageError, require_not_negative
from ate_policy.noise import Noised, Prediction
from training.objectives.denoising import Spoken

SMALL = 1e-12
"""Keeps divisions by a norm finite."""

LEVEL_BINS = 4
"""Equal bins of the noise share n / (s + n) in which the shift is logged."""


class ChunkEncoder(Protocol):
    """Anything with the encoder of an action VAE."""

    latent: int

    def encode(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, D) -> mean and log variance, each (B, L)."""


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """Which encoder steers."""

    vae: Path
    """Stage-2 action VAE trained on these episodes, made by `ate train-vae --stage 2`."""


@dataclass(frozen=True, kw_only=True)
class ShiftBounds:
    """What keeps the guided target finite."""

    strength: float = 1.0
    """Lambda."""
    cap: float = 0.1
    """Largest norm of the shift relative to the velocity's, per sample."""
    tau_floor: float = 0.05
    """Smallest signal level s in the weight n / s, which is singular at pure noise."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot steer."""
        require_not_negative(strength=self.strength, cap=self.cap)
        if not 0.0 < self.tau_floor <= 1.0:
            raise UsageError(f"tau_floor is {self.tau_floor}, must be in (0, 1]")


def latent_energy(
    encoder: ChunkEncoder, x: Tensor, a: Tensor, eps: Tensor, latent: Tensor | None = None
) -> Tensor:
    """Squared latent distance per sample, y = ||z(x) - z(a)||^2 (B,); differentiable in x only.

    Args:
        encoder: Of the frozen VAE.
        x: (B, H, D).
        a: (B, H, D), clean.
        eps: (B, L), shared by both sides.
        latent: (B, 2 L) what the encoder says of a, if that is known.
    """
    with torch.no_grad():
        mean, log_variance = encoder.encode(a) if latent is None else latent.chunk(2, dim=1)
        clean = _sample(mean, log_variance, eps)
    return (_sample(*encoder.encode(x), eps) - clean).square().sum(-1)


def guidance_gradient(
    encoder: ChunkEncoder, x: Tensor, a: Tensor, eps: Tensor, latent: Tensor | None = None
) -> Tensor:
    """The gradient g = -dy/dx (B, H, D); each row depends on its own sample only.

    It is computed in float32 also under autocast: it is a difference of nearby latents.
    Arguments are those of `latent_energy`.
    """
    precise = torch.promote_types(x.dtype, torch.float32)
    x = x.detach().to(precise).requires_grad_(True)
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        energy = latent_energy(encoder, x, a.to(precise), eps, latent).sum()
        return -torch.autograd.grad(energy, x)[0]


def bounded_shift(g: Tensor, noised: Noised, bounds: ShiftBounds) -> tuple[Tensor, Tensor]:
    """(n / s) lambda g with a floor on s, and at most cap ||v|| per sample, of predicted rows.

    Args:
        g: (B, H, D).
        noised: Where the gradient was taken.
        bounds: Lambda, floor and cap.

    Returns:
        The shift (B, H, D) in units of v = a - eps, and whether each sample was capped (B,).
    """
    weight = noised.sigma / noised.signal.clamp(min=bounds.tau_floor)
    raw = (bounds.strength * weight)[:, None, None] * g
    norm = raw.flatten(1).norm(dim=1)
    limit = bounds.cap * _velocity(noised).norm(dim=1)
    scale = torch.where(norm > limit, limit / norm.clamp(min=SMALL), torch.ones_like(norm))
    return scale[:, None, None] * raw, norm > limit


def shift_metrics(
    g: Tensor, shift: Tensor, capped: Tensor, noised: Noised, target: Tensor | None = None
) -> dict[str, Tensor]:
    """Metrics for the log: how large the shift is, how often capped, where g points.

    `shift_ratio_k` is the mean of ||shift|| / ||target|| among samples of the k-th bin of the
    noise share, 0 the cleanest; NaN where the batch has none.

    Args:
        g: (B, H, D).
        shift: (B, H, D).
        capped: Whether, or which share of it, was cut, (B,).
        noised: Where g was taken.
        target: What is shifted, (B, H, D); None: the velocity v.
    """
    velocity = _velocity(noised)
    whole = velocity if target is None else predicted_rows(target, noised).flatten(1)
    ratio = shift.flatten(1).norm(dim=1) / whole.norm(dim=1).clamp(min=SMALL)
    share = noised.sigma / (noised.signal + noised.sigma)
    bins = (share * LEVEL_BINS).long().clamp(max=LEVEL_BINS - 1)
    metrics = {
        "cap_fraction": capped.float().mean(),
        "shift_ratio": ratio.mean(),
        "cosine": torch.nn.functional.cosine_similarity(g.flatten(1), velocity, dim=1).mean(),
    }
    metrics |= {f"shift_ratio_{k}": ratio[bins == k].mean() for k in range(LEVEL_BINS)}
    return metrics


class LatentObjective(ABC):
    """A loss that looks at chunks through a frozen encoder, with latent noise of its own."""

    def __init__(self, encoder: ChunkEncoder, seed: int) -> None:
        """Keep the encoder.

        Args:
            encoder: Of the stage-2 VAE.
            seed: Of the latent noise.
        """
        self.generator = torch.Generator().manual_seed(seed)
        self._encoder = encoder

    @torch.no_grad()
    def encode(self, chunks: Tensor) -> Tensor:
        """(B, H, D) clean -> mean and log variance (B, 2 L), as `Noised.latent`."""
        return torch.cat(self._encoder.encode(chunks), dim=1)

    def draw(self, count: int) -> Tensor:
        """Latent noise (count, L)."""
        return torch.randn(count, self._encoder.latent, generator=self.generator)

    def gradient(self, noised: Noised, eps: Tensor) -> Tensor:
        """The gradient g (B, H, D) at what the network sees; zero in rows that it was given."""
        g = guidance_gradient(self._encoder, noised.noisy, noised.actions, eps, noised.latent)
        return predicted_rows(g, noised)

    @abstractmethod
    def loss(
        self,
        prediction: Prediction,
        output: Tensor,
        noised: Noised,
        eps: Tensor,
        step: int,
        weight: Tensor | None = None,
        spoken: Spoken | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch and metrics for the log, as `Objective` says."""


def predicted_rows(values: Tensor, noised: Noised) -> Tensor:
    """Values (B, H, D) with zeros in rows that the network was given and does not predict."""
    return values if noised.clean is None else values.masked_fill(noised.clean, 0.0)


def _velocity(noised: Noised) -> Tensor:
    """The flow's velocity v = a - eps of the predicted rows, (B, H D)."""
    return predicted_rows(noised.actions - noised.noise, noised).flatten(1)


def _sample(mean: Tensor, log_variance: Tensor, eps: Tensor) -> Tensor:
    return mean + torch.exp(0.5 * log_variance) * eps
