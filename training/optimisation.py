"""What both training commands do around a step: learning rate, clipping, averaging."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

GRADIENT_CLIP = 1.0
"""Largest gradient norm; only outliers reach it."""


def make_optimizer(model: nn.Module, rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with its fused kernel."""
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=weight_decay, fused=True)


def take_step(
    optimizer: torch.optim.Optimizer, model: nn.Module, loss: Tensor, rate: float
) -> Tensor:
    """One step against the gradient of the loss; returns the gradient's norm."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
    optimizer.step()
    return norm


def cosine_rate(peak: float, step: int, steps: int) -> float:
    """From the full rate to zero; a function of the step alone, so a resume needs no state."""
    return peak * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """Start of an average."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def average_weights(
    averaged: Mapping[str, Tensor], model: nn.Module, decay: float, step: int
) -> None:
    """Exponential moving average; the decay grows at first, so that early noise is forgotten."""
    weight = 1.0 - min(decay, (1.0 + step) / (10.0 + step))
    values = model.state_dict()
    for name, average in averaged.items():
        average.lerp_(values[name], weight)
