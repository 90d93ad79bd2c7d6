"""Modes of guidance by name. Each is the options that it has, and builds its own objective.

A mode is one file, and one line here or an entry point of another package.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from ate_core.errors import UsageError, require_not_negative
from ate_core.layout import Layout
from ate_core.registry import Registry
from ate_policy.transforms import Statistics
from training.objectives.denoising import Objective
from training.vae.model import ActionVae
from training.vae.storage import (
    load_vae,
    require_finished,
    require_same_demonstrations,
    require_same_space,
)

GUIDANCE = Registry(
    what="guidance mode",
    group="ate.guidance",
    builtin={
        "none": "training.objectives.no_guidance:NoGuidance",
        "paper": "training.objectives.shifted_target:PaperGuidance",
        "anneal": "training.objectives.shifted_target:AnnealGuidance",
        "toward": "training.objectives.shifted_target:TowardGuidance",
        "random": "training.objectives.random_shift:RandomGuidance",
        "reference": "training.objectives.reference_shift:ReferenceGuidance",
        "latent_metric": "training.objectives.latent_metric:LatentMetricGuidance",
        "anchor": "training.objectives.anchor:AnchorGuidance",
    },
)
"""Name on the command line -> a frozen dataclass, see `Guidance`."""

PLAIN = "none"
"""Name of the mode that steers nothing."""


@dataclass(frozen=True, kw_only=True)
class GuidedRun:
    """What an objective must know of the run that it steers."""

    statistics: Statistics
    """Normalisation of the chunks."""
    horizon: int
    """Actions per chunk [ticks]."""
    layout: Layout
    """Of the cell."""
    motion_sha256: str
    """Of the demonstrations, see `Demonstrations.motion_sha256`."""
    steps: int
    """Optimiser steps of the whole run."""
    seed: int
    """Of the objective's own noise."""
    device: torch.device
    """Where the policy is trained."""

    def load_encoder(self, folder: Path) -> ActionVae:
        """A frozen action VAE on the device; one of other chunks than the policy's is refused."""
        vae = load_vae(folder)
        require_finished(vae, folder)
        require_same_space(vae, self.statistics, self.horizon)
        require_same_demonstrations(vae, self.layout, self.motion_sha256)
        return vae.model.to(self.device)


@dataclass(frozen=True, kw_only=True)
class ComparesWithInitial:
    """Modes whose loss reads what the initial policy predicts, `Noised.reference`."""

    strength: float = 1.0
    """Weight of the added loss; 0: the initial policy is not asked."""

    def __post_init__(self) -> None:
        """Refuse a weight that cannot steer."""
        require_not_negative(strength=self.strength)


def reads_vae(mode: type[Any]) -> bool:
    """Whether a mode looks through the encoder of an action VAE."""
    return "vae" in {field.name for field in dataclasses.fields(mode)}


class Guidance(Protocol):
    """A frozen dataclass of options; its docstring is what `--help` says about the mode."""

    varied: ClassVar[str]
    """The option that `ate study` sets by MODE:NUMBER; empty: there is none."""

    def make_objective(self, run: GuidedRun) -> Objective:
        """The loss of a run that is steered this way."""


def guidance_class(name: str) -> type[Any]:
    """A mode by name, see `Guidance`.

    Raises:
        UsageError: there is no such mode; the message lists the known ones.
    """
    found = GUIDANCE.load(name)
    if not isinstance(found, type):
        raise UsageError(
            f"guidance mode {name!r} is {GUIDANCE.require(name)}: it must be a dataclass"
        )
    return found


def guidance_modes() -> dict[str, type[Any]]:
    """All modes by name; a broken one of another package is left out."""
    return GUIDANCE.load_working(guidance_class)


def guidance_name(guidance: Guidance) -> str:
    """The name under which a mode is registered.

    Raises:
        UsageError: it is not, or under two names.
    """
    modes = guidance_modes()
    name = GUIDANCE.name_of(type(guidance), modes)
    if name is None:
        raise UsageError(
            f"{type(guidance).__name__} is no guidance mode: use one of {', '.join(modes)}"
        )
    return name
