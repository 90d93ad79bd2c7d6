"""The shift as the released code computes it, for comparison only."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ate_core.errors import require_not_negative
from ate_policy.noise import Noised, Prediction, target_of
from training.objectives.denoising import Objective, Spoken, regression_loss, target_weight
from training.objectives.guidance import GuidedRun
from training.objectives.latent_guidance import (
    SMALL,
    ChunkEncoder,
    EncoderOptions,
    LatentObjective,
    shift_metrics,
)


class ReferenceShift(LatentObjective):
    """The energy is a mean over the whole batch and the latent, so g shrinks with the batch.

    The weighted gradient is clamped entry by entry and then multiplied by lambda.
    """

    def __init__(self, encoder: ChunkEncoder, strength: float, clamp: float, seed: int) -> None:
        super().__init__(encoder, seed)
        self._strength = strength
        self._clamp = clamp
        self._entries = 0

    def draw(self, count: int) -> Tensor:
        """Latent noise (count, L), over all of which the energy is a mean."""
        eps = super().draw(count)
        self._entries = eps.numel()
        return eps

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
        g = self.gradient(noised, eps) / self._entries
        factor = target_weight(prediction, noised.signal, noised.sigma, SMALL)
        shift = (factor * g).clamp(-self._clamp, self._clamp)
        capped = (shift.abs() >= self._clamp).float().mean((1, 2))
        shift = self._strength * shift
        target = target_of(prediction, noised)
        metrics = shift_metrics(g, shift, capped, noised, target)
        return regression_loss(output, target - shift, weight), metrics


@dataclass(frozen=True, kw_only=True)
class ReferenceGuidance(EncoderOptions):
    """As the released code computes it, for comparison: each entry of the shift is clamped."""

    strength: float = 3.0
    """Lambda, applied behind the clamp."""
    clamp: float = 0.1
    """Largest entry of the weighted gradient."""

    varied: ClassVar[str] = "clamp"

    def __post_init__(self) -> None:
        """Refuse numbers that cannot steer."""
        require_not_negative(strength=self.strength, clamp=self.clamp)

    def make_objective(self, run: GuidedRun) -> Objective:
        """A target shifted as in the release."""
        return ReferenceShift(run.load_encoder(self.vae), self.strength, self.clamp, run.seed)
