"""Steering a policy by the distance in the latent space of an action VAE.

With E the frozen encoder of the stage-2 VAE (ATE, arXiv 2509.02055, section 4):

    y = || E(x) - E(a) ||^2      per sample, summed over the latent
    g = - dy/dx                  constant in the loss; points from the noisy to the clean chunk

E is a sample z = mu + sigma eps with the same eps on both sides, drawn from a generator of its
own, so that a guided run sees the data and noise of the plain run with the same seed.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ate_policy.noise import Noised, Prediction, clean_estimate, target_of
from training.objectives.denoising import moved_target, regression_loss, target_weight

GuidanceMode = Literal["none", "paper", "reference", "anneal", "toward", "latent_metric", "random"]

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
class ShiftBounds:
    """What keeps the guided target finite."""

    strength: float = 1.0
    """Lambda."""
    tau_floor: float = 0.05
    """Smallest signal level s in the weight n / s."""
    cap: float = 0.1
    """Largest norm of the push relative to the velocity's, per sample."""


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
    """The gradient g = -dy/dx (B, H, D); each row depends on its own sample only.

    It is computed in float32 also under autocast: it is a difference of nearby latents.
    """
    precise = torch.promote_types(x.dtype, torch.float32)
    x = x.detach().to(precise).requires_grad_(True)
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        energy = latent_energy(encoder, x, a.to(precise), eps).sum()
        return -torch.autograd.grad(energy, x)[0]


def bounded_push(g: Tensor, noised: Noised, bounds: ShiftBounds) -> tuple[Tensor, Tensor]:
    """(n / s) lambda g with a floor on s, and at most cap ||v|| per sample.

    Args:
        g: (B, H, D).
        noised: Where the gradient was taken.
        bounds: Lambda, floor and cap.

    Returns:
        The push (B, H, D) in units of v = a - eps, and whether each sample was capped (B,).
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
    whole = velocity if target is None else target.flatten(1)
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

    def draw(self, count: int) -> Tensor:
        """Latent noise (count, L)."""
        return torch.randn(count, self._encoder.latent, generator=self.generator)

    @abstractmethod
    def loss(
        self, prediction: Prediction, output: Tensor, noised: Noised, eps: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch and metrics for the log, as `Objective` says."""


class ShiftedTarget(LatentObjective):
    """The paper's correction and its relatives: the regression target is moved along g.

    paper: against g, as the equation of the corrected loss says; anneal: the same with lambda
    falling to zero along a cosine; toward: along g, guidance learned into the field.
    """

    def __init__(
        self,
        encoder: ChunkEncoder,
        bounds: ShiftBounds,
        seed: int,
        mode: Literal["paper", "anneal", "toward"] = "paper",
        steps: int = 1,
    ) -> None:
        """Keep the frozen encoder.

        Args:
            encoder: Of the stage-2 VAE.
            bounds: Lambda, floor and cap.
            seed: Of the latent noise.
            mode: Sign and schedule.
            steps: Optimiser steps of the run, for `anneal`.
        """
        super().__init__(encoder, seed)
        self._bounds = bounds
        self._mode = mode
        self._steps = steps

    def loss(
        self, prediction: Prediction, output: Tensor, noised: Noised, eps: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss against the moved target."""
        target = target_of(prediction, noised)
        if self._bounds.strength == 0.0:  # bit-identical to plain training
            return regression_loss(output, target), {}
        g = self._direction(noised, eps)
        push, capped = bounded_push(g, noised, self._bounds)
        push = push * self._sign_at(step)
        moved = moved_target(prediction, target, push, noised.signal, noised.sigma)
        return regression_loss(output, moved), shift_metrics(g, push, capped, noised)

    def _direction(self, noised: Noised, eps: Tensor) -> Tensor:
        """Where the target may move along or against, (B, H, D)."""
        return guidance_gradient(self._encoder, noised.noisy, noised.actions, eps)

    def _sign_at(self, step: int) -> float:
        if self._mode == "anneal":
            return -0.5 * (1.0 + math.cos(math.pi * step / self._steps))
        return 1.0 if self._mode == "toward" else -1.0


class RandomShift(ShiftedTarget):
    """Control: a shift as large as the paper's, in a direction that knows nothing.

    What it does too is not due to the latent space.
    """

    def __init__(
        self, encoder: ChunkEncoder, bounds: ShiftBounds, seed: int, entries: int
    ) -> None:
        """Keep the frozen encoder.

        Args:
            encoder: Of the stage-2 VAE; decides the size of the shift.
            bounds: Lambda, floor and cap.
            seed: Of latent noise and directions.
            entries: Numbers in a chunk, H D.
        """
        super().__init__(encoder, bounds, seed)
        self._entries = entries

    def draw(self, count: int) -> Tensor:
        """Latent noise and a direction for each chunk, (count, L + H D)."""
        size = self._encoder.latent + self._entries
        return torch.randn(count, size, generator=self.generator)

    def _direction(self, noised: Noised, eps: Tensor) -> Tensor:
        eps, direction = eps.split([self._encoder.latent, self._entries], dim=1)
        norm = super()._direction(noised, eps).flatten(1).norm(dim=1, keepdim=True)
        return (norm * torch.nn.functional.normalize(direction, dim=1)).view_as(noised.actions)


class ReferenceShift(LatentObjective):
    """The shift as the released code computes it, for comparison only.

    The energy is a mean over batch and latent, so g shrinks with the batch; w g is clamped entry
    by entry and then multiplied by lambda (3.0 with a clamp of 0.1 in the release).
    """

    def __init__(self, encoder: ChunkEncoder, strength: float, clamp: float, seed: int) -> None:
        super().__init__(encoder, seed)
        self._strength = strength
        self._clamp = clamp

    def loss(
        self, prediction: Prediction, output: Tensor, noised: Noised, eps: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss against the moved target."""
        g = guidance_gradient(self._encoder, noised.noisy, noised.actions, eps) / eps.numel()
        weight = target_weight(prediction, noised.signal, noised.sigma, SMALL)
        shift = (weight * g).clamp(-self._clamp, self._clamp)
        capped = (shift.abs() >= self._clamp).float().mean((1, 2))
        shift = self._strength * shift
        target = target_of(prediction, noised)
        metrics = shift_metrics(g, shift, capped, noised, target)
        return regression_loss(output, target - shift), metrics


class LatentMetric(LatentObjective):
    """Plain loss + strength * latent distance between the predicted and the clean chunk.

    The gradient passes through the frozen encoder to the policy. Both terms are smallest at the
    clean chunk, so the optimum is not moved (exactly so for a linear encoder).
    """

    def __init__(self, encoder: ChunkEncoder, strength: float, seed: int) -> None:
        super().__init__(encoder, seed)
        self._strength = strength

    def loss(
        self, prediction: Prediction, output: Tensor, noised: Noised, eps: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Plain loss plus the latent term, per latent dimension."""
        plain = regression_loss(output, target_of(prediction, noised))
        if self._strength == 0.0:
            return plain, {}
        a_hat = clean_estimate(
            prediction, output.float(), noised.noisy, noised.signal, noised.sigma
        )
        with torch.autocast(output.device.type, enabled=False):
            energy = latent_energy(self._encoder, a_hat, noised.actions, eps)
        distance = energy.mean() / self._encoder.latent
        metrics = {"latent_distance": distance.detach(), "plain_loss": plain.detach()}
        return plain + self._strength * distance, metrics


def _velocity(noised: Noised) -> Tensor:
    """The flow's velocity v = a - eps, (B, H D)."""
    return (noised.actions - noised.noise).flatten(1)


def _latent(encoder: ChunkEncoder, actions: Tensor, eps: Tensor) -> Tensor:
    mean, log_variance = encoder.encode(actions)
    return mean + torch.exp(0.5 * log_variance) * eps
