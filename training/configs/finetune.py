"""Configuration of `ate finetune`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ate_core.errors import UsageError

GuidanceMode = Literal["none", "paper", "latent_metric"]
Variant = Literal["state", "vision"]


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Train a policy on demonstrations, plain or steered by an action VAE.

    Writes a run folder: `last` points to the newest checkpoint, `log.jsonl` holds the losses.
    """

    episodes: Path
    """Folder of HDF5 episodes, as `ate convert` writes them."""
    output: Path
    """Run folder to write."""
    variant: Variant = "state"
    """state: reads object poses (simulated cell only); vision: reads the cameras."""
    guidance: GuidanceMode = "none"
    """none: plain; paper: the target is shifted by the latent gradient; latent_metric: the latent
    distance of the predicted chunk is added to the loss, which leaves the optimum unbiased."""
    vae: Path | None = None
    """Stage-2 action VAE trained on these episodes; needed for every guidance but none."""
    guidance_strength: float = 1.0
    """Lambda of the shift (paper), or weight of the added loss (latent_metric)."""
    guidance_cap: float = 0.1
    """Largest shift relative to the velocity's norm, per sample (paper)."""
    guidance_tau_floor: float = 0.05
    """Smallest tau in the guidance weight (1 - tau) / tau, which is singular at pure noise."""
    init: Path | None = None
    """Pre-trained checkpoint to start from; None starts from random weights."""
    demonstrations: int | None = None
    """Use only the first so many episodes; None: all."""
    cameras: tuple[str, ...] = ()
    """Image keys of a vision policy; empty: all cameras of the layout."""
    horizon: int = 20
    """Actions per chunk [ticks]."""
    steps: int = 4000
    """Optimiser steps."""
    batch: int | None = None
    """Noisy chunks per step; None: 128 (state) or 256 (vision, 8 for each of 32 observations)."""
    learning_rate: float = 1e-3
    """AdamW, falling to zero along a cosine."""
    weight_decay: float = 1e-4
    """AdamW."""
    ema_decay: float = 0.999
    """Decay of the averaged weights, which are the ones that are saved and run."""
    input_noise: float = 0.02
    """Noise added to state and object features, in units of their std."""
    image_shift: int = 3
    """Images are shifted at random by up to so many pixels (vision)."""
    seed: int = 0
    """Decides initial weights, order of the data and all noise."""
    save_every: int = 1000
    """Steps between checkpoints."""
    log_every: int = 50
    """Steps between lines of the log."""
    threads: int = 1
    """CPU threads; more are slower on a shared machine."""
    resume: bool = False
    """Go on with the run in `output`, exactly as if it had never stopped."""

    def __post_init__(self) -> None:
        """Refuse arguments that do not fit together."""
        if self.guidance != "none" and self.vae is None:
            raise UsageError(
                f"guidance '{self.guidance}' needs an action VAE: give --vae, made by "
                "`ate train-vae --stage 2` on these episodes"
            )
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"batch is {self.batch}, must be at least 1")
        for name in ("horizon", "steps", "save_every", "log_every", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, must be at least 1")
        for name in ("guidance_strength", "guidance_cap", "input_noise", "image_shift"):
            if not getattr(self, name) >= 0.0:
                raise UsageError(f"{name} is {getattr(self, name)}, must not be negative")
        if not 0.0 < self.guidance_tau_floor <= 1.0:
            raise UsageError(f"guidance_tau_floor is {self.guidance_tau_floor}, must be in (0, 1]")
        if not 0.0 <= self.ema_decay < 1.0:
            raise UsageError(f"ema_decay is {self.ema_decay}, must be in [0, 1)")
        if self.demonstrations is not None and self.demonstrations < 1:
            raise UsageError(f"demonstrations is {self.demonstrations}, must be at least 1")
