"""A moving average of the video encoder, whose latents are the positives of video without actions.

E_tea <- mu E_tea + (1 - mu) E_inv after every step (CLAP, section III-C2); no gradient reaches it.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.loop.optimisation import average_weights


class Teacher:
    """The averaged encoder."""

    def __init__(self, encoder: nn.Module, rate: float, *, warmup: bool) -> None:
        """Begin with the weights of an encoder.

        Args:
            encoder: To be followed.
            rate: mu.
            warmup: Whether mu grows from 0.1 at the first step, (1 + step) / (10 + step), so that
                the first random weights are soon forgotten.
        """
        self.encoder = copy.deepcopy(encoder).eval().requires_grad_(False)
        self._rate, self._warmup = rate, warmup

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """All of its weights, for a run's state."""
        return dict(self.encoder.named_parameters())

    def follow(self, encoder: nn.Module, step: int) -> None:
        """Average in the weights after a step.

        Args:
            encoder: The one that learns.
            step: Steps taken before this one.
        """
        average_weights(self.weights, encoder, self._rate, step if self._warmup else None)

    @torch.no_grad()
    def action_latent(self, before: Tensor, after: Tensor) -> Tensor:
        """z_a (B, A, N_q, W) of clean frames' features (B, P, F)."""
        found: Tensor = self.encoder(before, after)[0]
        return found
