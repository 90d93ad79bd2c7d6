"""The paper's guidance and its relatives: the regression target is shifted along the gradient g.

paper    against g, as the equation of the corrected loss says
anneal   the same, with lambda falling to zero along a cosine
toward   along g: guidance that is learned into the field
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ate_policy.noise import Noised, Prediction, target_of
from training.objectives.denoising import Objective, Spoken, regression_loss, shifted_target
from training.objectives.guidance import GuidedRun
from training.objectives.latent_guidance import (
    ChunkEncoder,
    EncoderOptions,
    LatentObjective,
    ShiftBounds,
    bounded_shift,
    shift_metrics,
)

AGAINST, ALONG = -1.0, 1.0
"""Direction of the shift relative to g."""


class ShiftedTarget(LatentObjective):
    """Regress a target that is shifted along the latent gradient."""

    def __init__(
        self,
        encoder: ChunkEncoder,
        bounds: ShiftBounds,
        seed: int,
        factor: Callable[[int], float] = lambda step: AGAINST,
    ) -> None:
        """Keep the frozen encoder.

        Args:
            encoder: Of the stage-2 VAE.
            bounds: Lambda, floor and cap.
            seed: Of the latent noise.
            factor: Of the bounded shift, by optimiser step: sign and schedule.
        """
        super().__init__(encoder, seed)
        self._bounds = bounds
        self._factor = factor

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
        """Loss against the shifted target."""
        target = target_of(prediction, noised)
        if self._bounds.strength == 0.0:  # bit-identical to plain training
            return regression_loss(output, target, weight), {}
        g = self._direction(noised, eps)
        shift, capped = bounded_shift(g, noised, self._bounds)
        shift = shift * self._factor(step)
        shifted = shifted_target(prediction, target, shift, noised.signal, noised.sigma)
        loss = regression_loss(output, shifted, weight)
        return loss, shift_metrics(g, shift, capped, noised)

    def _direction(self, noised: Noised, eps: Tensor) -> Tensor:
        """Where the target may move along or against, (B, H, D)."""
        return self.gradient(noised, eps)


@dataclass(frozen=True, kw_only=True)
class ShiftGuidance(EncoderOptions, ShiftBounds, ABC):
    """Options of the modes that shift the target by the bounded gradient."""

    varied: ClassVar[str] = "cap"

    def make_objective(self, run: GuidedRun) -> Objective:
        """A target shifted by this mode's sign and schedule."""
        encoder = run.load_encoder(self.vae)
        return ShiftedTarget(encoder, self, run.seed, lambda step: self.factor(step, run.steps))

    @abstractmethod
    def factor(self, step: int, steps: int) -> float:
        """What the bounded shift along g is multiplied by.

        Args:
            step: Optimiser step, from 0.
            steps: Of the run.
        """


@dataclass(frozen=True, kw_only=True)
class PaperGuidance(ShiftGuidance):
    """The paper's: the target is shifted against the latent gradient."""

    def factor(self, step: int, steps: int) -> float:
        """Against g throughout."""
        return AGAINST


@dataclass(frozen=True, kw_only=True)
class AnnealGuidance(ShiftGuidance):
    """The paper's, fading out over the run: the optimum is not biased in the end."""

    def factor(self, step: int, steps: int) -> float:
        """Against g, falling to zero along a cosine."""
        return AGAINST * 0.5 * (1.0 + math.cos(math.pi * step / steps))


@dataclass(frozen=True, kw_only=True)
class TowardGuidance(ShiftGuidance):
    """The opposite sign: the target is shifted along the latent gradient."""

    def factor(self, step: int, steps: int) -> float:
        """Along g throughout."""
        return ALONG
