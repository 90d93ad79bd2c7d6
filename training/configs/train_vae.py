"""Configuration of `ate train-vae`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ate_core.errors import UsageError
from training.data.dataset import ActionSpace

KlDirection = Literal["reverse", "forward"]


@dataclass(frozen=True, kw_only=True)
class TrainVaeConfig:
    """Train the action VAE: stage 1 on other robots' motion, stage 2 on the demonstrations.

    Stage 1 learns a latent space with prior N(0, I) from recordings of a two-arm robot and from
    generated motion of other bodies. Stage 2 learns one for the demonstrations with the aggregate
    posterior of stage 1 as its prior. `ate finetune` steers with stage 2.
    """

    stage: Literal[1, 2]
    """1: align to N(0, I) on pre-training motion; 2: align to the prior on demonstrations."""
    output: Path
    """Run folder to write."""
    episodes: Path | None = None
    """Folder of HDF5 episodes (stage 2)."""
    prior: Path | None = None
    """Stage-1 VAE whose aggregate posterior is the prior (stage 2)."""
    start_from_prior: bool = False
    """Start stage 2 from the weights of stage 1 instead of from random ones."""
    recordings: Path | None = None
    """LeRobot v2.1 folder of a two-arm robot (stage 1)."""
    cell: Path | None = None
    """Cell whose layout the motion is brought into (stage 1); None: the packaged one."""
    motions: int = 240
    """Generated episodes of other embodiments (stage 1); 0: none."""
    demonstrations: int | None = None
    """Use only the first so many episodes (stage 2); None: all."""
    actions: ActionSpace = "absolute"
    """Space of the chunks, as the policy will be trained in it (stage 2)."""
    horizon: int = 20
    """Actions per chunk [ticks]."""
    steps: int = 2000
    """Optimiser steps."""
    batch: int = 64
    """Chunks per step."""
    learning_rate: float = 1e-3
    """AdamW, falling to zero along a cosine; for the small preset."""
    weight_decay: float = 1e-4
    """AdamW."""
    latent: int = 64
    """Latent numbers."""
    width: int = 64
    """Width of the transformer."""
    encoder_layers: int = 2
    """Layers of the encoder."""
    decoder_layers: int = 2
    """Layers of the decoder."""
    weight_kl: float = 7.5e-5
    """Weight of the KL divergence (mean over batch and latent)."""
    weight_mmd: float = 1.0
    """Weight of the MMD."""
    kl: KlDirection = "reverse"
    """reverse: KL(q(z|a) || prior), the paper's; forward: KL(prior || q(z|a)), for comparison."""
    seed: int = 0
    """Decides initial weights, order of the data, noise and generated motion."""
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
        if self.stage == 1:
            if self.episodes is not None or self.prior is not None:
                raise UsageError(
                    "stage 1 takes --recordings and --motions, not --episodes or --prior"
                )
            if self.recordings is None and self.motions == 0:
                raise UsageError("stage 1 has no data: give --recordings, or --motions above 0")
        elif self.episodes is None or self.prior is None:
            raise UsageError(
                "stage 2 needs --episodes (demonstrations) and --prior (a stage-1 VAE)"
            )
        elif self.recordings is not None:
            raise UsageError("stage 2 learns from --episodes: give --recordings to stage 1")
        for name in ("horizon", "steps", "batch", "save_every", "log_every", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, must be at least 1")
        if self.batch < 2:
            raise UsageError(f"batch is {self.batch}: the MMD needs at least 2 chunks")
        if self.motions < 0 or self.weight_kl < 0.0 or self.weight_mmd < 0.0:
            raise UsageError("motions, weight_kl and weight_mmd must not be negative")
