"""Control: a shift as large as the paper's, in a direction that knows nothing."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ate_policy.noise import Noised
from training.objectives.denoising import Objective
from training.objectives.guidance import GuidedRun
from training.objectives.latent_guidance import (
    ChunkEncoder,
    EncoderOptions,
    ShiftBounds,
    predicted_rows,
)
from training.objectives.shifted_target import ShiftedTarget


class RandomShift(ShiftedTarget):
    """What it does too is not due to the latent space."""

    def __init__(
        self, encoder: ChunkEncoder, bounds: ShiftBounds, seed: int, entries: int
    ) -> None:
        """Keep the frozen encoder.

        Args:
            encoder: Of the stage-2 VAE; decides the size of the shift.
            bounds: Lambda, floor and cap.
            seed: Of latent noise and directions.
            entries: Numbers in a chunk, H D.
        """
        super().__init__(encoder, bounds, seed)
        self._entries = entries

    def draw(self, count: int) -> Tensor:
        """Latent noise and a direction for each chunk, (count, L + H D)."""
        size = self._encoder.latent + self._entries
        return torch.randn(count, size, generator=self.generator)

    def _direction(self, noised: Noised, eps: Tensor) -> Tensor:
        eps, direction = eps.split([self._encoder.latent, self._entries], dim=1)
        norm = super()._direction(noised, eps).flatten(1).norm(dim=1, keepdim=True)
        direction = predicted_rows(direction.view_as(noised.actions), noised).flatten(1)
        shift: Tensor = norm * torch.nn.functional.normalize(direction, dim=1)
        return shift.view_as(noised.actions)


@dataclass(frozen=True, kw_only=True)
class RandomGuidance(EncoderOptions, ShiftBounds):
    """Control: a shift as large as the paper's, in a random direction."""

    varied: ClassVar[str] = "cap"

    def make_objective(self, run: GuidedRun) -> Objective:
        """A target shifted anywhere."""
        entries = run.horizon * len(run.statistics.action.mean)
        return RandomShift(run.load_encoder(self.vae), self, run.seed, entries)
