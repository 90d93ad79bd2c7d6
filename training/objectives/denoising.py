"""What a policy is trained to predict, and how the target is shifted to move the clean estimate.

All five predictions of `ate_policy.noise` are one regression in different units. With
x = s a + n eps and the shift d in units of the flow's velocity v = a - eps, the clean estimate
moves by n d in every row:

    velocity_paper   v + d        a_hat = x + n v'
    velocity_pi0     u - d        a_hat = x - n u'
    epsilon          eps - s d    a_hat = (x - n eps') / s
    sample           a + n d      a_hat = a'
    v                v - d        a_hat = s x - n v'          (s^2 + n^2 = 1)

The paper's guidance (ATE, arXiv 2509.02055) is d = -(n / s) lambda g.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ate_policy.models.interface import Inputs
from ate_policy.noise import Noised, Prediction, target_of


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """How a network that writes codes scored those that it was given, of B observations."""

    logits: Tensor
    """(B, L, K), of the same forward pass as the noisy chunks; each has seen the codes before."""
    codes: Tensor
    """(B, L) int64."""
    inputs: Inputs
    """The observations that they belong to, for a loss that asks another network."""


class Objective(Protocol):
    """A loss of the network's output."""

    generator: torch.Generator
    """Source of the objective's own noise, apart from the one of the data."""

    def draw(self, count: int) -> Tensor:
        """Noise (count, L) of one optimiser step; L is 0 where none is needed."""

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
        """Loss of a batch and metrics for the log (scalars, without gradient).

        Args:
            prediction: What the output is.
            output: (B, H, D), entries of the layout only.
            noised: Chunks of the same entries.
            eps: Rows of `draw` that belong to the batch.
            step: Optimiser step, from 0.
            weight: (B, H, 1) of each action, mean 1 over the whole batch; None: all are equal.
            spoken: The codes that the network scored beside its chunks; None: it scored none.
        """


class PlainDenoising:
    """Regress the usual target."""

    def __init__(self) -> None:
        self.generator = torch.Generator()

    def draw(self, count: int) -> Tensor:
        """No noise is needed, (count, 0)."""
        return torch.empty(count, 0)

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
        """Mean squared error."""
        return regression_loss(output, target_of(prediction, noised), weight), {}


def regression_loss(output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error in float32, (B, H, D), of actions that weigh (B, H, 1)."""
    error = (output.float() - target).square()
    return error.mean() if weight is None else (weight * error).mean()


def shifted_target(
    prediction: Prediction, target: Tensor, shift: Tensor, signal: Tensor, sigma: Tensor
) -> Tensor:
    """Target of a network whose clean estimate shall move by n d.

    Args:
        prediction: What the target is.
        target: The usual one, (B, H, D).
        shift: d (B, H, D), in units of the flow's velocity.
        signal: s (B,).
        sigma: n (B,).
    """
    return target + _units(prediction, signal, sigma) * shift


def target_weight(prediction: Prediction, signal: Tensor, sigma: Tensor, floor: float) -> Tensor:
    """Signed weight w of the paper in the target's units, (B, 1, 1): target - w lambda g.

    (n / s) for velocities, n for epsilon, n^2 / s for sample; s is bounded by `floor` because
    the weight is singular at pure noise.
    """
    ratio = (sigma / signal.clamp(min=floor))[:, None, None]
    return _units(prediction, signal, sigma) * ratio


def _units(prediction: Prediction, signal: Tensor, sigma: Tensor) -> Tensor:
    """Change of the target per change of the velocity v = a - eps, (B, 1, 1)."""
    one = torch.ones_like(signal)
    scale = {
        "velocity_paper": one,
        "velocity_pi0": -one,
        "epsilon": -signal,
        "sample": sigma,
        "v": -one,
    }[prediction]
    return scale[:, None, None]
