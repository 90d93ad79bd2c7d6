"""Configuration of `ate finetune`."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ate_core.errors import UsageError
from training.configs.applicability import FINETUNE, refuse_without_effect
from training.data.augmentation import ImageAugmentation
from training.data.dataset import ActionSpace
from training.loop.processes import Precision
from training.loop.progress import LogTarget
from training.objectives.latent_guidance import GuidanceMode

Variant = Literal["state", "vision"]
_COUNTS = ("horizon", "steps", "save_every", "log_every", "threads", "accumulate", "lora_rank")

PolicyName = Literal["flow", "diffusion", "pi0", "rdt"]
Preset = Literal["tiny", "small", "full"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a policy is usually optimised; every field can be given on the command line."""

    batch: int
    """Chunks per optimiser step."""
    learning_rate: float
    """Peak rate of AdamW."""
    final_rate: float = 0.0
    """Rate at the end of the cosine."""
    warmup: int = 0
    """Steps from (almost) zero to the peak rate, linear as in openpi."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's moments."""
    weight_decay: float = 1e-4
    """AdamW."""
    ema_decay: float = 0.999
    """Decay of the averaged weights; 0: none, the raw weights are saved."""
    draws: int = 1
    """Noisy chunks per observation."""

    @property
    def observations(self) -> int:
        """Observations per step."""
        return self.batch // self.draws


SCRATCH = Recipe(batch=128, learning_rate=1e-3)
"""Small networks from random weights."""
SCRATCH_VISION = Recipe(batch=256, learning_rate=1e-3, draws=8)
"""The same with cameras: observing costs more than denoising."""
FULL = {
    # openpi and lerobot agree on these; batch 24 is the ATE paper's on RoboTwin
    "pi0": Recipe(
        batch=24,
        learning_rate=2.5e-5,
        final_rate=2.5e-6,
        warmup=1000,
        betas=(0.9, 0.95),
        weight_decay=1e-10,
        ema_decay=0.99,
    ),
    # the ATE paper's; betas and decay as in diffusion_policy's image configuration
    "diffusion": Recipe(
        batch=128,
        learning_rate=1e-4,
        warmup=500,
        betas=(0.95, 0.999),
        weight_decay=1e-6,
        ema_decay=0.9999,
    ),
    # the ATE paper's rate; the rest as in RDT's fine-tuning script
    "rdt": Recipe(batch=64, learning_rate=1e-4, warmup=500, weight_decay=1e-2, ema_decay=0.9999),
    "flow": SCRATCH,
}
"""Published networks."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Train a policy on demonstrations, plain or steered by an action VAE.

    Writes a run folder: `last` points to the newest checkpoint, `log.jsonl` holds the losses.
    Runs on several GPUs or machines under `accelerate launch`; --batch counts all of them.
    """

    episodes: Path
    """Folder of HDF5 episodes, as `ate convert` writes them."""
    output: Path
    """Run folder to write."""
    policy: PolicyName = "flow"
    """flow: small flow-matching network; diffusion: Diffusion Policy (UNet); pi0; rdt."""
    preset: Preset = "small"
    """Size: small trains on a CPU, full is the published one, tiny is for tests."""
    variant: Variant = "state"
    """state: reads object poses (simulated cell only); vision: reads the cameras."""
    actions: ActionSpace = "absolute"
    """absolute: joint targets; relative: differences from the present joints (pi0's weights)."""
    normalise: bool = True
    """Learn states and actions of mean 0 and deviation 1; without: robot units, which RDT-1B's
    weights expect. The VAE must be trained with the same word."""
    guidance: GuidanceMode = "none"
    """none: plain. paper: the target is shifted by the latent gradient; anneal: the same, fading
    out; toward: the opposite sign; random: no direction at all (control); reference: as the
    released code computes it. latent_metric: the latent distance of the predicted chunk is added
    to the loss: the optimum stays unbiased."""
    vae: Path | None = None
    """Stage-2 action VAE trained on these episodes; needed for every guidance but none."""
    guidance_strength: float | None = None
    """Lambda of the shift, or weight of the added loss; None: 1, or 3 for reference."""
    guidance_cap: float = 0.1
    """Largest shift relative to the velocity's norm, per sample; reference: clamp per entry."""
    guidance_tau_floor: float = 0.05
    """Smallest signal level in the guidance weight n / s, which is singular at pure noise."""
    init: Path | None = None
    """Pre-trained checkpoint to start from; None starts from random weights."""
    pi0_train: Literal["all", "expert", "lora"] = "all"
    """What of pi0 is trained: all, the action expert, or low-rank adapters."""
    freeze_vision: bool = False
    """Keep the vision encoder of pi0 as it is."""
    lora_rank: int = 16
    """Rank of the adapters of `--pi0-train lora`; their scale is 1."""
    language: bool | None = None
    """Whether the policy reads the instruction (pi0, rdt); None: as the preset says."""
    tokenizer: Path | None = None
    """Folder of PaliGemma's tokenizer (pi0); None: the checkpoint's, or bytes in small presets."""
    text_encoder: Path | None = None
    """Folder of T5-v1.1-XXL (rdt, published sizes)."""
    image_encoder: Path | None = None
    """Folder of SigLIP so400m-patch14-384 (rdt, published sizes, cameras)."""
    demonstrations: int | None = None
    """Use only the first so many episodes; None: all."""
    cameras: tuple[str, ...] = ()
    """Image keys of a vision policy; empty: all cameras of the layout."""
    horizon: int | None = None
    """Actions per chunk [ticks]; None: those of one second at the tick rate of the episodes."""
    steps: int = 4000
    """Optimiser steps."""
    batch: int | None = None
    """Noisy chunks per step over all processes; None: usual for the policy. With cameras and
    small presets a multiple of 8: each observation is used with 8 noises."""
    accumulate: int = 1
    """Forward passes per step and process; more need less memory."""
    precision: Precision = "fp32"
    """bf16: autocast; the guidance gradient and the losses stay in float32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass (pi0, rdt): slower, less memory."""
    learning_rate: float | None = None
    """Peak rate of AdamW, falling along a cosine; None: usual for the policy."""
    final_rate: float | None = None
    """Rate at the end; None: usual for the policy."""
    warmup: int | None = None
    """Steps of linear warm-up; None: usual for the policy."""
    weight_decay: float | None = None
    """AdamW; None: usual for the policy."""
    ema_decay: float | None = None
    """Decay of the averaged weights, the ones that are saved and run; 0: none; None: usual."""
    input_noise: float = 0.02
    """Noise added to state and object features, in units of their std."""
    image_augmentation: ImageAugmentation | None = None
    """How images are changed at random (vision). shift: all of a tick by a few pixels; openpi: a
    crop of 95 % and up to 5 degrees of rotation (not of wrist cameras), brightness, contrast and
    saturation; None: openpi for pi0 of full size, else shift."""
    image_shift: int = 3
    """Largest shift of `--image-augmentation shift` [px]."""
    image_memory_gb: float = 8.0
    """Images are decoded once if that is enough, else whenever they are drawn."""
    seed: int = 0
    """Decides initial weights, order of the data and all noise."""
    save_every: int = 1000
    """Steps between checkpoints."""
    log_every: int = 50
    """Steps between lines of the log."""
    log_to: tuple[LogTarget, ...] = ()
    """Besides log.jsonl; wandb must be installed by you."""
    threads: int = 1
    """CPU threads; more are slower on a shared machine."""
    resume: bool = False
    """Go on with the run in `output`, exactly as if it had never stopped."""

    @property
    def recipe(self) -> Recipe:
        """How this run is optimised: the usual recipe and what was given."""
        usual = SCRATCH_VISION if self.variant == "vision" else SCRATCH
        if self.preset == "full":
            usual = FULL[self.policy]
        given = {
            name: getattr(self, name)
            for name in (
                "batch",
                "learning_rate",
                "final_rate",
                "warmup",
                "weight_decay",
                "ema_decay",
            )
            if getattr(self, name) is not None
        }
        return dataclasses.replace(usual, **given)

    @property
    def augmentation(self) -> ImageAugmentation:
        """How images are changed."""
        if self.image_augmentation is not None:
            return self.image_augmentation
        return "openpi" if self.policy == "pi0" and self.preset == "full" else "shift"

    @property
    def strength(self) -> float:
        """Lambda, or the weight of the added loss."""
        if self.guidance_strength is not None:
            return self.guidance_strength
        return 3.0 if self.guidance == "reference" else 1.0

    def __post_init__(self) -> None:
        """Refuse arguments that do not fit together."""
        if self.guidance != "none" and self.vae is None:
            raise UsageError(
                f"guidance '{self.guidance}' needs an action VAE: give --vae, made by "
                "`ate train-vae --stage 2` on these episodes"
            )
        batch, draws = self.recipe.batch, self.recipe.draws
        if batch < 1 or batch % draws:
            raise UsageError(f"batch is {batch}, must be a multiple of {draws}, and at least that")
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}, must be at least 1")
        for name in ("guidance_cap", "input_noise", "image_shift", "image_memory_gb"):
            if not getattr(self, name) >= 0.0:
                raise UsageError(f"{name} is {getattr(self, name)}, must not be negative")
        if not 0.0 <= self.strength < math.inf:
            raise UsageError(f"guidance_strength is {self.strength}, must be finite and >= 0")
        if not 0.0 < self.guidance_tau_floor <= 1.0:
            raise UsageError(f"guidance_tau_floor is {self.guidance_tau_floor}, must be in (0, 1]")
        if not 0.0 < self.recipe.learning_rate < math.inf:
            raise UsageError(f"learning_rate is {self.recipe.learning_rate}, must be above 0")
        for name in ("final_rate", "warmup", "weight_decay"):
            if not 0.0 <= getattr(self.recipe, name) < math.inf:
                raise UsageError(f"{name} is {getattr(self.recipe, name)}, must not be negative")
        if not 0.0 <= self.recipe.ema_decay < 1.0:
            raise UsageError(f"ema_decay is {self.recipe.ema_decay}, must be in [0, 1)")
        if self.demonstrations is not None and self.demonstrations < 1:
            raise UsageError(f"demonstrations is {self.demonstrations}, must be at least 1")
        refuse_without_effect(self, FINETUNE)
