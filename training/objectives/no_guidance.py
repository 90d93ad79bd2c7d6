"""No guidance: plain fine-tuning."""

from dataclasses import dataclass
from typing import ClassVar

from training.objectives.denoising import Objective, PlainDenoising
from training.objectives.guidance import GuidedRun


@dataclass(frozen=True, kw_only=True)
class NoGuidance:
    """Plain fine-tuning."""

    varied: ClassVar[str] = ""

    def make_objective(self, run: GuidedRun) -> Objective:
        """Regress the usual target."""
        return PlainDenoising()
