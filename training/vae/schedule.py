"""Which chunks a step sees, and its learning rate; functions of the step and one generator."""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.configs.train_vae import TrainVaeConfig
from training.loop.optimisation import cosine_rate
from training.vae.recipe import Recipe
from training.vae.reference import epoch_rate, epoch_rows


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Order of the data and course of the learning rate."""

    recipe: Recipe
    """Draws with replacement and a cosine, or shuffled epochs with a falling rate."""
    chunks: int
    """Chunks there are."""
    config: TrainVaeConfig
    """Batch, steps, seed and peak rate."""

    def rows(self, step: int, generator: torch.Generator) -> Tensor:
        """Rows (batch,) of the chunks of a step."""
        if self.recipe.schedule == "epochs":
            return epoch_rows(self.chunks, self.config.batch, step, self.config.seed)
        return torch.randint(self.chunks, (self.config.batch,), generator=generator)

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        peak = self.config.peak_rate
        if self.recipe.schedule == "epochs":
            return epoch_rate(peak, step // (self.chunks // self.config.batch))
        return cosine_rate(peak, step, self.config.steps)
