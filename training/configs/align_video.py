"""Configuration of `ate align-video`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ate_core.errors import (
    UsageError,
    require_at_least_one,
    require_not_negative,
    require_once,
    require_seed,
)
from training.audit.gate import Gated
from training.clap.features import FeatureConfig
from training.clap.vd_config import Network, Predicts
from training.configs.run import Precision
from training.configs.train_tokens import BetaOn, Match, Norms, Restart

ContrastOf = Literal["continuous", "codes"]
Space = Literal["whitened", "centred", "raw"]
Negatives = Literal["distinct", "all"]
Augmentation = Literal["colours", "released", "none"]
Target = Literal["clean", "augmented"]
VideoPositive = Literal["teacher", "none"]


@dataclass(frozen=True, kw_only=True)
class AlignVideoConfig(Gated):
    """Align video with action tokens: what happened between two frames, as codes of motion.

    Learns from the robot's episodes and from clips without actions, of which the pictures of one
    camera are read and nothing else. The tokens stay as they are. `ate label-video` then writes
    codes beside clips.
    """

    output: Path
    """Run folder to write."""
    tokens: Path
    """Run folder or checkpoint of `ate train-tokens`, in tool space."""
    episodes: tuple[Path, ...]
    """Folders of the robot's HDF5 episodes, with pictures and actions."""
    videos: tuple[Path, ...] = ()
    """Folders of HDF5 episodes of which only the pictures are looked at; none: the robot alone."""
    camera: str = "cam_high"
    """Key of the camera; it must not move."""
    demonstrations: int | None = None
    """Use only the first so many episodes of each folder of the robot; None: all."""
    min_score: float = 0.0
    """Leave out the robot's episodes whose audit has a lower score, 0 to 100."""
    exclude: tuple[str, ...] = ()
    """Leave out these of the robot's episodes (episode_000003), and those in which one of these
    rules of the audit finds something (idle)."""
    features: FeatureConfig = field(default_factory=FeatureConfig)
    """What the network reads of a frame."""
    steps: int = 3000
    """Optimiser steps."""
    batch: int = 32
    """Windows of the robot per step, and as many of video where there is any."""
    env_codes: int = 2
    """Codes of what is no motion of an arm."""
    env_codebook: int = 64
    """Codes to choose from for it."""
    axes: int = 16
    """Main directions of an arm's latents, with `--space whitened`."""
    network: Network = "conv"
    """conv: convolutions, which learn from some dozens of episodes; attention: as the paper."""
    width: int = 64
    """Width of the network."""
    encoder_layers: int = 2
    """Blocks of the encoder."""
    decoder_layers: int = 2
    """Blocks of the decoder."""
    heads: int = 4
    """Attention heads."""
    feedforward: int = 256
    """Width of the feed-forward part."""
    learning_rate: float = 1e-3
    """AdamW's peak, falling to a tenth along a cosine (paper: 2e-4, at its size)."""
    weight_decay: float = 1e-2
    """AdamW; codes, temperature and bias have none."""
    warmup: int = 100
    """Steps over which the learning rate rises."""
    match: Match = "ours"
    """paper: without what it does not mention; reference: what the released code does. The
    options below change one of its choices."""
    norms: Norms | None = None
    """Norms of the loss as means over their elements, or summed."""
    weight_vq: float | None = None
    """Of the codebooks' terms, lambda_vq."""
    weight_contrast: float | None = None
    """Of the contrast, lambda_con; 0: reconstruction only."""
    weight_sparse: float | None = None
    """Of |z_i|, lambda_reg."""
    beta: float | None = None
    """Of the commitment."""
    beta_on: BetaOn | None = None
    """The term that beta multiplies."""
    contrast_of: ContrastOf | None = None
    """The contrast compares latents before, or after their codebook."""
    space: Space | None = None
    """Cosines are taken along the main directions of the tokens' latents, each over its
    deviation, and z_a moves along these; about their mean; or about zero."""
    weight_distance: float | None = None
    """Of the square distance in that space, which fixes the length that a cosine leaves free."""
    negatives: Negatives | None = None
    """All other rows, or those that are known to be other motion."""
    sparse_of: ContrastOf | None = None
    """|z_i| before or after its codebook."""
    augmentation: Augmentation | None = None
    """Of the frames that the encoder sees."""
    target: Target | None = None
    """The decoder reads and predicts frames as they are, or as the encoder sees them."""
    predicts: Predicts | None = None
    """The decoder gives the later frame, or its change."""
    video_positive: VideoPositive | None = None
    """Video is pulled to the averaged encoder's latents, or has no part in the contrast."""
    teacher_rate: float | None = None
    """Of the average, mu."""
    teacher_warmup: bool | None = None
    """Whether mu grows from 0.1."""
    restart: Restart | None = None
    """Where codes of z_i go that were not used."""
    restart_every: int = 200
    """Steps between restarts."""
    shuffle_labels: bool = False
    """A control: the robot's windows are given the motion of others; nothing can be aligned."""
    precision: Precision = "fp32"
    """bf16: network in bfloat16 where that is safe; losses, codes and optimiser stay fp32."""
    seed: int = 0
    """Decides initial weights, order of the data, augmentation and restarts."""
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
        _ = self.gate  # refuses rules that are none
        require_seed(seed=self.seed)
        require_once(**{"--episodes and --videos": (*self.episodes, *self.videos)})
        if not self.episodes:
            raise UsageError("there are no episodes of the robot: give --episodes")
        require_at_least_one(
            steps=self.steps,
            batch=self.batch,
            demonstrations=self.demonstrations,
            env_codes=self.env_codes,
            axes=self.axes,
            width=self.width,
            encoder_layers=self.encoder_layers,
            decoder_layers=self.decoder_layers,
            heads=self.heads,
            feedforward=self.feedforward,
            restart_every=self.restart_every,
            save_every=self.save_every,
            log_every=self.log_every,
            threads=self.threads,
        )
        if self.batch < 2:
            raise UsageError(f"batch is {self.batch}: one window has nothing to be told from")
        if self.env_codebook < 2:
            raise UsageError(f"env_codebook is {self.env_codebook}, must be at least 2")
        if self.teacher_rate is not None and not 0.0 <= self.teacher_rate < 1.0:
            raise UsageError(f"teacher_rate is {self.teacher_rate}, must be in [0, 1)")
        require_not_negative(
            warmup=self.warmup,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            weight_vq=self.weight_vq or 0.0,
            weight_contrast=self.weight_contrast or 0.0,
            weight_sparse=self.weight_sparse or 0.0,
            weight_distance=self.weight_distance or 0.0,
            beta=self.beta or 0.0,
        )
