"""Flow matching: noisy chunks, targets, and how guidance shifts a target.

Two conventions are in use for one and the same flow.

    paper   x = tau a + (1 - tau) eps     v = a - eps     noise at tau = 0
    pi0     x = t eps + (1 - t) a         u = eps - a     noise at t = 1

With t = 1 - tau, v = -u. Guidance moves the clean estimate by -((1 - tau)^2 / tau) lambda g in
both (ATE, arXiv 2509.02055, equation of the corrected loss, solved for the target).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FlowBatch:
    """Noisy chunks and where they came from."""

    actions: Tensor
    """a (B, H, D), clean, normalised."""
    noisy: Tensor
    """x (B, H, D)."""
    tau: Tensor
    """(B,), 0 noise .. 1 clean."""
    velocity: Tensor
    """v = a - eps (B, H, D)."""


def draw_noise(actions: Tensor, generator: torch.Generator) -> FlowBatch:
    """Draw tau ~ U(0, 1) and eps ~ N(0, 1) and mix them into the chunks.

    Args:
        actions: (B, H, D), normalised.
        generator: Source of both.
    """
    tau = torch.rand(len(actions), generator=generator)
    eps = torch.randn(actions.shape, generator=generator)
    level = tau[:, None, None]
    return FlowBatch(actions, level * actions + (1.0 - level) * eps, tau, actions - eps)


def weight_paper(tau: Tensor, floor: float) -> Tensor:
    """W = (1 - tau) / max(tau, floor); singular at pure noise without the floor."""
    return (1.0 - tau) / tau.clamp(min=floor)


def weight_pi0(t: Tensor, floor: float) -> Tensor:
    """W = t / max(1 - t, floor): the same weight in pi0's time."""
    return t / (1.0 - t).clamp(min=floor)


def shift_velocity_paper(v: Tensor, shift: Tensor) -> Tensor:
    """Target of a network that predicts v; `shift` is w lambda g, (B, H, D)."""
    return v - shift


def shift_velocity_pi0(u: Tensor, shift: Tensor) -> Tensor:
    """Target of a network that predicts u; `shift` is w lambda g, (B, H, D)."""
    return u + shift


def shift_clean(a: Tensor, shift: Tensor, tau: Tensor) -> Tensor:
    """Target of a network that predicts the clean chunk: a - (1 - tau) w lambda g.

    It is x + (1 - tau) v' with the shifted velocity v' = v - w lambda g.
    """
    return a - (1.0 - tau)[:, None, None] * shift


def clean_loss(a_hat: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of the clean chunk.

    It is the velocity's squared error weighted by (1 - tau)^2: same minimiser, without the
    exploding weight near tau = 1.
    """
    return (a_hat - target).square().mean()
