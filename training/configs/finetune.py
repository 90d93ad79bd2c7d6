"""Configuration of `ate finetune`."""

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ate_core.errors import (
    UsageError,
    require_at_least_one,
    require_not_negative,
    require_seed,
)
from ate_policy.models.entry import ImageAugmentation, PolicyPreset, Recipe
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.models.registry import entry_of
from training.audit.gate import Gated
from training.configs.choices import GuidanceChoice, PolicyChoice
from training.configs.knowledge import Knowledge, KnowledgeContexts, KnowledgeDirection
from training.configs.old_words import with_todays_words
from training.configs.record import Record, complete, record_of
from training.configs.run import LogTarget, Precision
from training.data.corrections import Corrections, PolicyActions
from training.data.dataset import ActionSpace
from training.objectives.guidance import ComparesWithInitial, guidance_name
from training.objectives.no_guidance import NoGuidance

Variant = Literal["state", "vision"]
StatisticsSource = Literal["init", "data"]

SHIFT = 3
"""Usual shift of images [px]."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Images of a policy that reads cameras (`--variant vision`)."""

    cameras: tuple[str, ...] = ()
    """Image keys that the policy reads; empty: those that `init` learned from, in their order,
    else all cameras of the layout."""
    augmentation: ImageAugmentation | None = None
    """How images are changed at random. shift: all of a tick by a few pixels; openpi: a crop of
    95 % and up to 5 degrees of rotation (not of wrist cameras), brightness, contrast and
    saturation; None: openpi for pi0 of full size, else shift."""
    shift: int = SHIFT
    """Largest shift of `--images.augmentation shift` [px]."""
    memory_gb: float = 8.0
    """Images are decoded once if that is enough, else whenever they are drawn."""

    def __post_init__(self) -> None:
        """Refuse negative numbers."""
        for name in ("shift", "memory_gb"):
            require_not_negative(**{f"images.{name}": getattr(self, name)})


@dataclass(frozen=True, kw_only=True)
class OptimOptions:
    """Optimisation; None is what is usual for the network and its size."""

    batch: int | None = None
    """Noisy chunks per step over all processes. With cameras and small presets a multiple of 8:
    each observation is used with 8 noises."""
    accumulate: int = 1
    """Forward passes per step and process; more need less memory."""
    learning_rate: float | None = None
    """Peak rate of AdamW, falling along a cosine."""
    final_rate: float | None = None
    """Rate at the end."""
    warmup: int | None = None
    """Steps of linear warm-up."""
    weight_decay: float | None = None
    """AdamW."""
    ema_decay: float | None = None
    """Decay of the averaged weights, the ones that are saved and run; 0: none."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot train."""
        if self.accumulate < 1:
            raise UsageError(f"optim.accumulate is {self.accumulate}, must be at least 1")
        if self.learning_rate is not None and not 0.0 < self.learning_rate < math.inf:
            raise UsageError(f"optim.learning_rate is {self.learning_rate}, must be above 0")
        for name in ("final_rate", "warmup", "weight_decay"):
            value = getattr(self, name)
            require_not_negative(**{f"optim.{name}": 0.0 if value is None else value})
        if self.ema_decay is not None and not 0.0 <= self.ema_decay < 1.0:
            raise UsageError(f"optim.ema_decay is {self.ema_decay}, must be in [0, 1)")

    def applied_to(self, usual: Recipe) -> Recipe:
        """The usual recipe with what was given."""
        given = {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if value is not None and name != "accumulate"
        }
        recipe = dataclasses.replace(usual, **given)
        if recipe.batch < 1 or recipe.batch % recipe.draws:
            raise UsageError(
                f"optim.batch is {recipe.batch}, must be a multiple of {recipe.draws}, and at "
                "least that"
            )
        return recipe


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(Gated):
    """Train a policy on demonstrations, plain or steered by an action VAE.

    Writes a run folder: `last` points to the newest checkpoint, `log.jsonl` holds the losses.

    A network and a guidance mode are chosen by words and bring options of their own, for instance
    policy:pi0 --policy.train lora guidance:paper --guidance.strength 0.5; the help behind a word
    explains them (ate finetune policy:pi0 --help). Any order will do.

    Several GPUs or machines train under `accelerate launch`; --optim.batch counts all of them.
    """

    episodes: Path
    """Folder of HDF5 episodes, as `ate convert` writes them."""
    output: Path
    """Run folder to write."""
    init: Path | None = None
    """Pre-trained checkpoint to start from; None starts from random weights."""
    variant: Variant = "state"
    """state: reads object poses (simulated cell only); vision: reads the cameras."""
    demonstrations: int | None = None
    """Use only the first so many episodes; None: all."""
    min_score: float = 0.0
    """Leave out episodes whose audit has a lower score, 0 to 100."""
    exclude: tuple[str, ...] = ()
    """Leave out these episodes (episode_000003), and those in which one of these rules of the
    audit finds something (idle)."""
    correction_weight: float = 1.0
    """What the actions of a correction weigh in the loss, beside 1 of a demonstration's: what an
    operator commanded after taking over from a policy."""
    policy_actions: PolicyActions = "drop"
    """What a policy commanded in recorded deployments, and the waits beside it. drop: not
    imitated, and chunks that reach into it are cut there; keep: learnt as demonstrations."""
    horizon: int | None = None
    """Actions per chunk [ticks]; None: those of `init`, else of one second of the episodes."""
    max_delay: int | None = None
    """Train for real-time chunking: 0 to so many first actions of a chunk, at random, are given
    clean, as those that are played while it is inferred [ticks] (flow, pi0, pi0.5); 0: plain.
    None: as `init`, else 0."""
    actions: ActionSpace | None = None
    """absolute: joint targets; relative: differences from the present joints (pi0's weights).
    None: as `init` learned, else absolute."""
    normalise: bool = True
    """Learn states and actions of mean 0 and deviation 1; without, or where `init` learned so:
    robot units, which RDT-1B's weights expect. The VAE must be trained with the same word."""
    statistics: StatisticsSource | None = None
    """Means and deviations to normalise with. init: those that `init` learned with; data: those of
    the episodes. None: init where it has some that this cell's vectors can have, and the episodes
    lie within 10 of its deviations and are fewer than 50, or guidance:anchor compares with it. The
    VAE must be trained with the same ones."""
    input_noise: float = 0.02
    """Noise added to state and object features, in units of their std."""
    steps: int = 4000
    """Optimiser steps."""
    precision: Precision = "fp32"
    """bf16: autocast; the guidance gradient and the losses stay in float32."""
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
    knowledge: Path | None = None
    """Run of a token policy: while a flow head learns, the codes that its trunk would write stay
    near those of this one (CLAP's knowledge matching). For networks without codes there is
    guidance:anchor. None: nothing is held."""
    knowledge_weight: float = 0.05
    """Of the divergence from these codes in the loss; 0: plain training, to the bit."""
    knowledge_direction: KnowledgeDirection = "paper"
    """paper: KL(policy || reference), summed over a chunk's codes; reference: as the released code
    computes it, KL(reference || policy), their mean."""
    knowledge_contexts: KnowledgeContexts = "target"
    """Where the codes are compared. target: at the run's own observations, the true codes given;
    old: at those of `knowledge_episodes`, given the codes that the reference writes there."""
    knowledge_episodes: Path | None = None
    """Folder of HDF5 episodes of which the observations alone are read, for `old`."""
    optim: OptimOptions = field(default_factory=OptimOptions)
    images: ImageOptions = field(default_factory=ImageOptions)
    policy: PolicyChoice = field(default_factory=FlowOptions)
    """The network."""
    guidance: GuidanceChoice = field(default_factory=NoGuidance)
    """How it is steered."""

    @property
    def space(self) -> ActionSpace:
        """Space of the actions that the policy learns."""
        return self.actions or "absolute"

    @property
    def corrections(self) -> Corrections:
        """How takeovers are learnt."""
        return Corrections(weight=self.correction_weight, policy_actions=self.policy_actions)

    @property
    def matching(self) -> Knowledge:
        """What the network's codes are held to."""
        return Knowledge(
            reference=self.knowledge,
            weight=self.knowledge_weight,
            direction=self.knowledge_direction,
            contexts=self.knowledge_contexts,
            episodes=self.knowledge_episodes,
        )

    @property
    def policy_name(self) -> str:
        """Name of the network."""
        return entry_of(self.policy)[0]

    @property
    def guidance_name(self) -> str:
        """Name of the guidance mode."""
        return guidance_name(self.guidance)

    @property
    def preset(self) -> PolicyPreset:
        """Size of the network, and how it is usually trained."""
        return entry_of(self.policy)[1].preset(self.policy.preset)

    @property
    def recipe(self) -> Recipe:
        """How this run is optimised: the usual recipe and what was given."""
        preset = self.preset
        usual = preset.recipe_cameras if self.variant == "vision" else preset.recipe
        return self.optim.applied_to(usual)

    @property
    def augmentation(self) -> ImageAugmentation:
        """How images are changed."""
        return self.images.augmentation or self.preset.augmentation

    def record(self) -> Record:
        """As it is kept beside the run."""
        return record_of(self, policy=self.policy_name, guidance=self.guidance_name)

    def upgrade(self, stored: Record) -> Record:
        """The record of a run that may be older, in today's words and with today's options."""
        upgraded = complete(with_todays_words(stored), self)
        if self.actions is None and "statistics" not in stored:
            upgraded["actions"] = None  # absolute was the default then
        return upgraded

    def __post_init__(self) -> None:
        """Refuse arguments that do not fit together."""
        require_at_least_one(
            demonstrations=self.demonstrations,
            horizon=self.horizon,
            steps=self.steps,
            save_every=self.save_every,
            log_every=self.log_every,
            threads=self.threads,
        )
        require_not_negative(input_noise=self.input_noise)
        _ = self.gate, self.recipe, self.corrections  # refuse what do not fit
        require_seed(seed=self.seed)
        if isinstance(self.guidance, ComparesWithInitial) and self.init is None:
            raise UsageError(
                f"guidance:{self.guidance_name} compares with the policy at the start, and this "
                "run starts from random weights: give --init, or another guidance"
            )
        name, entry = entry_of(self.policy)
        self.matching.check(name, entry.config, self.init)
        self._check_inputs()

    def _check_inputs(self) -> None:
        """Refuse inputs that the network does not read, and options of images it does not see."""
        name, entry = entry_of(self.policy)
        wanted = "cameras" if self.variant == "vision" else "objects"
        if wanted not in entry.reads:
            raise UsageError(
                f"variant is {self.variant}, but policy:{name} reads no {wanted}: choose the "
                "other variant, or another network"
            )
        if entry.writes:
            self._check_writing(name)
        if entry.only_absolute and self.space == "relative":
            raise UsageError(
                f"actions is relative, which policy:{name} cannot learn ({entry.only_absolute}): "
                "give --actions absolute, or choose another network"
            )
        if self.variant != "vision" and self.images != ImageOptions():
            raise UsageError(
                f"{self.images} is given, which this run would ignore: leave --images out, or "
                "give --variant vision"
            )
        if self.images.shift != SHIFT and self.augmentation != "shift":
            raise UsageError(
                f"images.shift is {self.images.shift}, which this run would ignore: leave it out, "
                "or give --images.augmentation shift"
            )

    def _check_writing(self, name: str) -> None:
        """Refuse what means nothing to a network that writes codes."""
        if not isinstance(self.guidance, NoGuidance):
            raise UsageError(
                f"guidance:{self.guidance_name} steers chunks that are denoised, and "
                f"policy:{name} writes codes: leave it out, or steer policy:clap_rf"
            )
        if self.max_delay:
            raise UsageError(
                f"max_delay is {self.max_delay}, but policy:{name} writes a chunk as a whole and "
                "cannot be given its first rows: leave it out, or train policy:flow"
            )
