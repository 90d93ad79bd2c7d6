"""Configuration of `ate train-vae`."""

import dataclasses
from dataclasses import dataclass
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
from training.configs.run import Precision
from training.data.corrections import PolicyActions
from training.data.dataset import ActionSpace

KlDirection = Literal["reverse", "forward"]
LatentHead = Literal["linear", "norm"]
Match = Literal["paper", "reference"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Sizes that are chosen together, with a learning rate that suits them."""

    latent: int
    """Latent numbers."""
    width: int
    """Width of the transformer."""
    encoder_layers: int
    """Layers of the encoder."""
    decoder_layers: int
    """Layers of the decoder."""
    heads: int
    """Attention heads."""
    feedforward: int
    """Width of the feed-forward part."""
    learning_rate: float
    """Peak learning rate."""

    def sizes(self) -> dict[str, int]:
        """The fields of a `VaeConfig` among them."""
        named = dataclasses.asdict(self)
        del named["learning_rate"]
        return named


PRESETS = {
    "small": Preset(
        latent=64,
        width=64,
        encoder_layers=2,
        decoder_layers=2,
        heads=4,
        feedforward=256,
        learning_rate=1e-3,
    ),
    "paper": Preset(
        latent=512,
        width=512,
        encoder_layers=9,
        decoder_layers=9,
        heads=4,
        feedforward=1024,
        learning_rate=1e-4,
    ),
}
"""small: minutes on a CPU; paper: arXiv 2509.02055, 47 M parameters."""


@dataclass(frozen=True, kw_only=True)
class TrainVaeConfig(Gated):
    """Train the action VAE: stage 1 on other robots' motion, stage 2 on the demonstrations.

    Stage 1 learns a latent space with prior N(0, I) from recordings of two-arm robots and from
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
    single_stage: bool = False
    """Ablation: stage 2 with the prior N(0, I), without a stage-1 VAE."""
    start_from_prior: bool = False
    """Start stage 2 from the weights of stage 1 instead of from random ones."""
    recordings: tuple[Path, ...] = ()
    """Folders of motion (stage 1): LeRobot v2.0 to v3.0, our HDF5 episodes, `qpos` HDF5 files."""
    cell: Path | None = None
    """Cell whose layout the motion is brought into (stage 1); None: the packaged one."""
    motions: int = 240
    """Generated episodes of other embodiments (stage 1); 0: none."""
    demonstrations: int | None = None
    """Use only the first so many episodes (stage 2); None: all."""
    min_score: float = 0.0
    """Leave out episodes whose audit has a lower score (stage 2), 0 to 100."""
    exclude: tuple[str, ...] = ()
    """Leave out these episodes (episode_000003), and those in which one of these rules of the
    audit finds something (idle) (stage 2)."""
    policy_actions: PolicyActions = "drop"
    """Chunks that begin where a policy drove in recorded deployments (stage 2), as
    `ate finetune --policy-actions`; all that are learnt weigh the same here."""
    actions: ActionSpace = "absolute"
    """Space of the chunks, one for both stages and the policy; see `ate finetune --actions`."""
    horizon: int | None = None
    """Actions per chunk [ticks]; None: those of one second at the tick rate of the data's cell."""
    steps: int = 2000
    """Optimiser steps."""
    batch: int = 64
    """Chunks per step."""
    preset: Literal["small", "paper"] = "small"
    """Sizes and learning rate; the options below change one of them."""
    learning_rate: float | None = None
    """AdamW's peak, falling to zero along a cosine; None: the preset's."""
    weight_decay: float = 1e-4
    """AdamW."""
    latent: int | None = None
    """Latent numbers; None: the preset's, as for the sizes below."""
    width: int | None = None
    """Width of the transformer."""
    encoder_layers: int | None = None
    """Layers of the encoder."""
    decoder_layers: int | None = None
    """Layers of the decoder."""
    heads: int | None = None
    """Attention heads."""
    feedforward: int | None = None
    """Width of the feed-forward part."""
    match: Match = "paper"
    """paper: its equations; reference: what the released code computes, for comparison."""
    latent_head: LatentHead | None = None
    """linear: maps behind the last norm (default); norm: its outputs themselves, as released."""
    kl: KlDirection | None = None
    """Stage 2; reverse: KL(q(z|a) || prior), the paper's; forward: the released code's."""
    weight_kl: float = 7.5e-5
    """Weight of the KL divergence (mean over batch and latent)."""
    weight_mmd: float = 1.0
    """Weight of the MMD; 0: without, an ablation."""
    input_noise: float = 0.0
    """Ablation: largest share s of noise in what the encoder sees, (1 - s) a + s noise; 0..1."""
    statistics_of: Path | None = None
    """Stage 2: checkpoint of a policy whose statistics are used in place of the episodes' own, as
    `ate finetune --init` does where it keeps them."""
    normalise: bool = True
    """Learn normalised chunks, as the policies do; without: robot units, as released."""
    by_quantiles: bool = False
    """Stage 2: bring the 1 % and 99 % quantiles of the chunks to -1 and 1, as a pi0.5 that is
    normalised with the episodes' own statistics does."""
    precision: Precision = "fp32"
    """bf16: network in bfloat16 where that is safe; losses, norms and optimiser stay fp32."""
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
        _ = self.gate  # refuses rules that are none
        require_seed(seed=self.seed)
        require_once(recordings=self.recordings)
        if self.stage == 1:
            self._check_pretraining()
        else:
            self._check_adaptation()
        require_at_least_one(
            horizon=self.horizon,
            steps=self.steps,
            batch=self.batch,
            save_every=self.save_every,
            log_every=self.log_every,
            threads=self.threads,
        )
        if self.batch < 2:
            raise UsageError(f"batch is {self.batch}: the MMD needs at least 2 chunks")
        require_not_negative(
            motions=self.motions,
            weight_kl=self.weight_kl,
            weight_mmd=self.weight_mmd,
            weight_decay=self.weight_decay,
            learning_rate=self.peak_rate,
        )
        if not 0.0 <= self.input_noise <= 1.0:
            raise UsageError(f"input_noise is {self.input_noise}, must lie in 0..1")

    @property
    def peak_rate(self) -> float:
        """AdamW's peak: as given, or the preset's."""
        usual = PRESETS[self.preset].learning_rate
        return usual if self.learning_rate is None else self.learning_rate

    def sizes(self) -> dict[str, int]:
        """Sizes of the network by name: as given, or the preset's."""
        usual = PRESETS[self.preset].sizes()
        given: dict[str, int | None] = {name: getattr(self, name) for name in usual}
        return usual | {name: size for name, size in given.items() if size is not None}

    def _check_pretraining(self) -> None:
        if self.episodes is not None or self.prior is not None:
            raise UsageError("stage 1 takes --recordings and --motions, not --episodes or --prior")
        if not self.recordings and self.motions == 0:
            raise UsageError("stage 1 has no data: give --recordings, or --motions above 0")
        for name in (
            "kl",
            "single_stage",
            "start_from_prior",
            "demonstrations",
            "min_score",
            "exclude",
            "statistics_of",
            "by_quantiles",
        ):
            if getattr(self, name):
                raise UsageError(f"{name} is a choice of stage 2: leave it out")
        if self.policy_actions != "drop":
            raise UsageError("policy_actions is a choice of stage 2: leave it out")

    def _check_adaptation(self) -> None:
        if self.recordings or self.cell is not None:
            raise UsageError(
                "stage 2 learns from --episodes, of their own cell: give --recordings and --cell "
                "to stage 1"
            )
        if self.episodes is None:
            raise UsageError("stage 2 needs --episodes (demonstrations)")
        if self.single_stage == (self.prior is not None):
            raise UsageError(
                "stage 2 needs --prior (a stage-1 VAE), or --single-stage to go without; not both"
            )
        if self.start_from_prior and self.prior is None:
            raise UsageError("--start-from-prior needs --prior")
        if self.statistics_of is not None and not self.normalise:
            raise UsageError("--statistics-of normalises: leave it or --no-normalise out")
        if self.by_quantiles and (self.statistics_of is not None or not self.normalise):
            raise UsageError(
                "--by-quantiles scales by the episodes' own quantiles: leave it out, or "
                "--statistics-of and --no-normalise"
            )
