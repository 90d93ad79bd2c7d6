"""Sines and cosines that embed a step, a frequency or a position."""

import math

import torch
from torch import Tensor

LONGEST_PERIOD = 10_000.0
"""Of the slowest wave divided by 2 pi (Vaswani et al. 2017)."""


def sinusoids(values: Tensor, size: int) -> Tensor:
    """Embed numbers: (...) -> (..., size); the first half are sines, the second cosines.

    Frequencies fall geometrically from 1 to 1 / 10000.

    Args:
        values: Any shape, any numeric type.
        size: Even.
    """
    half = size // 2
    exponent = torch.arange(half, device=values.device, dtype=torch.float32) / max(half - 1, 1)
    angles = values[..., None].float() * torch.exp(-math.log(LONGEST_PERIOD) * exponent)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
