"""Sines and cosines that embed a step, a frequency or a position."""

import math

import torch
from torch import Tensor

LONGEST_PERIOD = 10_000.0
"""Of the slowest wave divided by 2 pi (Vaswani et al. 2017)."""


def sinusoids(values: Tensor, size: int, *, closed: bool) -> Tensor:
    """Embed numbers: (...) -> (..., size); the first half are sines, the second cosines.

    Args:
        values: Any shape, any numeric type.
        size: Even.
        closed: Frequencies fall geometrically from 1 to 1 / 10000 (Diffusion Policy); False:
            they end one stride above that (RDT).
    """
    half = size // 2
    strides = max(half - 1, 1) if closed else half
    exponent = torch.arange(half, device=values.device, dtype=torch.float32) / strides
    angles = values[..., None].float() * torch.exp(-math.log(LONGEST_PERIOD) * exponent)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
