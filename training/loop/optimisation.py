"""What both training commands do around a step: learning rate, clipping, averaging."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

GRADIENT_CLIP = 1.0
"""Largest gradient norm; only outliers reach it."""
MULTIPLIER = "multiplier"
"""Key of a group of parameters: its learning rate over that of the rest."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Special:
    """A part of a network that learns at a rate of its own."""

    module: nn.Module
    """The part."""
    multiplier: float
    """Its learning rate over that of the rest."""
    weight_decay: float = 0.0
    """AdamW, for this part."""


def make_optimizer(
    model: nn.Module,
    rate: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    special: Sequence[Special] = (),
) -> torch.optim.AdamW:
    """AdamW with its fused kernel, over the parameters that are trained.

    Args:
        model: Network.
        rate: Learning rate of the first step.
        weight_decay: Of all but the special parts.
        betas: Of the moments.
        special: Parts of the network with rates of their own, none in two of them.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = []
    taken: set[int] = set()
    for part in special:
        own = [p for p in part.module.parameters() if p.requires_grad]
        taken |= {id(p) for p in own}
        groups.append(
            {
                "params": own,
                "lr": rate * part.multiplier,
                MULTIPLIER: part.multiplier,
                "weight_decay": part.weight_decay,
            }
        )
    groups.insert(0, {"params": [p for p in trained if id(p) not in taken]})
    return torch.optim.AdamW(groups, lr=rate, weight_decay=weight_decay, betas=betas, fused=True)


def apply_gradients(optimizer: torch.optim.Optimizer, model: nn.Module, rate: float) -> Tensor:
    """Clip what was accumulated, take a step, forget it; returns the gradient's norm.

    Args:
        optimizer: Of `make_optimizer`; its special parts keep their multiple of the rate.
        model: Network.
        rate: Learning rate of the step.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(MULTIPLIER, 1.0)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
    optimizer.step()
    optimizer.zero_grad()
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def cosine_rate(
    peak: float, step: int, steps: int, *, warmup: int = 0, final: float = 0.0
) -> float:
    """Learning rate of a step, a function of the step alone, so a resume needs no state.

    Linear from peak / (warmup + 1) over the first `warmup` steps, then a cosine to `final` at
    `steps`, as in openpi.
    """
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1, steps - warmup)
    return final + (peak - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """Start of an average, of the trained parameters."""
    return {
        name: value.detach().clone()
        for name, value in model.named_parameters()
        if value.requires_grad
    }


@torch.no_grad()
def average_weights(
    averaged: Mapping[str, Tensor], model: nn.Module, decay: float, step: int | None = None
) -> None:
    """Exponential moving average.

    Args:
        averaged: Trained so far, by name; changed.
        model: The weights after a step.
        decay: Share that the average keeps.
        step: Steps taken before that one: the decay grows at first, so that early noise is
            forgotten. None: it is the same in all.
    """
    kept = decay if step is None else min(decay, (1.0 + step) / (10.0 + step))
    values = dict(model.named_parameters())
    for name, average in averaged.items():
        average.lerp_(values[name], 1.0 - kept)
