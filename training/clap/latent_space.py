"""The space of the action tokens' latents, as cosines and distances look at it."""

import torch
from torch import Tensor, nn

LEAST_SHARE = 1e-6
"""Smallest deviation along a direction, of the largest: rounding must not become a direction."""


class LatentSpace(nn.Module):
    """Coordinates of an arm's latents: about an origin, along main directions over deviations.

    The latents of chunks lie close to a few directions (measured: 61 % of their variance in one of
    256, 99 % in eight), so plain cosines of different motion are nearly 1 and tell nothing apart.
    """

    origin: Tensor
    inward: Tensor
    outward: Tensor

    def __init__(self, codes: int, code_width: int, axes: int = 0) -> None:
        """Begin about zero.

        Args:
            codes: N_q of an arm.
            code_width: W of each.
            axes: Directions n; 0: all N_q W numbers as they are.
        """
        super().__init__()
        self.axes = axes
        numbers = codes * code_width
        self.register_buffer("origin", torch.zeros(codes, code_width))
        self.register_buffer("inward", torch.eye(numbers, axes))
        self.register_buffer("outward", torch.eye(axes, numbers))

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """Take mean and main directions of latents (R, N_q, W) of training chunks."""
        self.origin.copy_(latents.mean(dim=0))
        if not self.axes:
            return
        centred = (latents - self.origin).flatten(1).double()
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))  # rising
        vectors = vectors.flip(1)[:, : self.axes]
        largest = vectors.abs().argmax(dim=0)
        vectors = vectors * vectors[largest, torch.arange(self.axes)].sign()
        deviations = values.flip(0)[: self.axes].clamp(min=0.0).sqrt()
        deviations = deviations.clamp(min=LEAST_SHARE * float(deviations[0]) or LEAST_SHARE)
        self.inward.copy_(vectors / deviations)
        self.outward.copy_((vectors * deviations).T)

    def forward(self, latents: Tensor) -> Tensor:
        """(..., N_q, W) -> (..., n)."""
        numbers = (latents.float() - self.origin).flatten(-2)
        return numbers @ self.inward if self.axes else numbers

    def place(self, coordinates: Tensor) -> Tensor:
        """(..., n) -> (..., N_q, W), so that `forward` gives them back."""
        numbers = coordinates @ self.outward.to(coordinates.dtype) if self.axes else coordinates
        placed: Tensor = numbers.unflatten(-1, self.origin.shape) + self.origin
        return placed
