"""Configuration of `ate study`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ate_core.errors import UsageError, require_at_least_one
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.models.registry import entry_of
from training.configs.choices import PolicyChoice
from training.configs.finetune import FinetuneConfig, StatisticsSource, Variant
from training.configs.record import Record, record_of
from training.objectives.guidance import (
    GUIDANCE,
    PLAIN,
    ComparesWithInitial,
    Guidance,
    guidance_class,
    reads_vae,
)

VAES: dict[str, dict[str, Any]] = {
    "untrained": {"steps": 1, "learning_rate": 0.0, "weight_decay": 0.0},
    "single_stage": {"single_stage": True, "prior": None},
    "from_prior": {"start_from_prior": True},
    "forward": {"kl": "forward"},
    "no_mmd": {"weight_mmd": 0.0},
}
"""Word of an arm -> how stage 2 of its action VAE differs: a control (random weights) and
ablations of the paper's."""

SCRATCH = "scratch"
"""Word of an arm that starts from random weights where the others start from pre-trained ones."""

MOST_SEEDS = 100
"""Seeds end below it: behind them lie the starts of the other bodies."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to fine-tune that the study compares."""

    name: str
    """As given on the command line."""
    mode: str
    """Guidance of the fine-tuning; `none` is the one that all others are compared with."""
    number: float | None = None
    """Of the option that the mode varies: cap of the shift, weight of the added loss
    (latent_metric, anchor). None: usual."""
    vae: str = ""
    """A word of `VAES`; empty: the paper's stage 2."""
    scratch: bool = False
    """Plain training from random weights: what the pre-training was worth."""

    @property
    def folder(self) -> str:
        """Name of its folders."""
        return self.name.replace(":", "-")

    @property
    def steered(self) -> bool:
        """Whether it needs an action VAE."""
        return reads_vae(guidance_class(self.mode))

    @property
    def needs_start(self) -> bool:
        """Whether it says nothing without a pre-trained policy."""
        return self.scratch or issubclass(guidance_class(self.mode), ComparesWithInitial)

    def guidance(self, vae: Path | None) -> Guidance:
        """The mode with its number; with an action VAE where it is steered by one."""
        mode = guidance_class(self.mode)
        options: dict[str, Any] = {"vae": vae} if self.steered else {}
        if self.number is not None:
            options[mode.varied] = self.number
        guidance: Guidance = mode(**options)
        return guidance


def parse_arm(text: str) -> Arm:
    """`MODE[:NUMBER][:VAE]`, for instance `paper`, `toward:0.03`, `toward:untrained`.

    `latent-metric`, as the parser of `ate finetune` spells it, is `latent_metric`; `none:scratch`
    is plain training from random weights.
    """
    if text == f"{PLAIN}:{SCRATCH}":
        return Arm(name=text, mode=PLAIN, scratch=True)
    mode, *words = text.split(":")
    if mode.replace("-", "_") in GUIDANCE.names():
        mode = mode.replace("-", "_")
        text = ":".join((mode, *words))
    varied = guidance_class(mode).varied
    number, vae = None, ""
    for word in words:
        if (vae and word in VAES) or (number is not None and word not in VAES):
            raise UsageError(f"guidance is {text!r}: give one number and one VAE at most")
        if word in VAES:
            vae = word
            continue
        try:
            number = float(word)
        except ValueError:
            number = -1.0
        if not 0.0 <= number < float("inf"):
            raise UsageError(
                f"guidance is {text!r}: behind the mode, give a number from 0 (cap of the shift; "
                f"weight for latent_metric and anchor), or one of {', '.join(VAES)}"
            )
    if mode == PLAIN and words:
        raise UsageError(f"guidance is {text!r}: plain fine-tuning takes no options but {SCRATCH}")
    if number is not None and not varied:
        raise UsageError(f"guidance is {text!r}: {mode} takes no number")
    arm = Arm(name=text, mode=mode, number=number, vae=vae)
    if vae and not arm.steered:
        raise UsageError(f"guidance is {text!r}: {mode} reads no action VAE, leave {vae} out")
    return arm


COUNTS = (
    "seeds",
    "demonstrations",
    "steps",
    "rollouts",
    "early_rollouts",
    "pretraining_demonstrations",
    "pretraining_steps",
    "vae_motions",
    "vae_steps",
    "jobs",
    "threads",
)
"""Fields that are at least 1."""
PRETRAINING = (
    "pretraining_tasks",
    "pretraining_bodies",
    "pretraining_demonstrations",
    "pretraining_steps",
    "vae_motions",
    "vae_steps",
    "variant",
    "policy",
)
"""Fields that decide the pre-trained policies and stage 1 of the action VAE."""
GROWS = ("tasks", "guidance", "seeds", "first_seed", "rollouts", "early_rollouts")
"""Fields that a study may be taken up again with more of."""
HOW_TO_RUN = ("output", "pretraining_from", "jobs", "threads", "report_only", "document")
"""Fields that change no result."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Plain against guided fine-tuning over tasks and seeds, paired throughout.

    With equal seeds all arms start from equal weights and see equal data in equal order; their
    checkpoints are rolled out from equal starts with equal sampler noise. Run the same command
    again to go on after a stop: a finished stage is not repeated.
    """

    output: Path
    """Folder of the study: every stage, results.json, study.md and study.svg."""
    tasks: tuple[str, ...] = ("pick_place", "use_toaster")
    """Tasks to learn."""
    guidance: tuple[str, ...] = ("none", "paper", "toward")
    """What to compare with `none`: MODE[:NUMBER][:VAE]. NUMBER: another cap of the shift, or
    weight of latent_metric or anchor (which needs `pretrained`). VAE: untrained (control: random
    weights), single_stage, from_prior, forward or no_mmd (ablations of stage 2). none:scratch:
    from random weights where the others start from pre-trained ones."""
    seeds: int = 3
    """Training runs per task and arm; each seed has demonstrations and starts of its own."""
    first_seed: int = 0
    """The first of them; pilots take others than the result."""
    demonstrations: int = 10
    """Scripted demonstrations per task and seed."""
    steps: int = 1500
    """Optimiser steps of the fine-tuning; its learning rate falls to zero there."""
    checkpoints: tuple[int, ...] = (500, 1000)
    """Steps at which the policy is rolled out too, on the way."""
    rollouts: int = 100
    """Rollouts of the last checkpoint, per task, arm and seed."""
    early_rollouts: int = 50
    """Rollouts of the checkpoints on the way."""
    limit: float = 20.0
    """Longest rollout [s]."""
    pretrained: tuple[str, ...] = ()
    """Tasks whose policy starts from one trained on other bodies doing other tasks."""
    pretraining_tasks: tuple[str, ...] = ("pick_place", "handover")
    """What the other bodies do; the task to be learned is left out."""
    pretraining_bodies: tuple[str, ...] = ("six_axes", "six_axes_short", "six_axes_long")
    """The other bodies."""
    pretraining_demonstrations: int = 240
    """Demonstrations of all other bodies together."""
    pretraining_steps: int = 4000
    """Optimiser steps of the pre-training."""
    pretraining_from: Path | None = None
    """Folder of another study with the same pre-training: its policies and stage 1 are used, and
    made there where they are missing. None: those of this study."""
    statistics: StatisticsSource = "data"
    """Means and deviations of policies that start from a pre-trained one, and of their action
    VAEs. init: those that it learned with; data: those of the demonstrations."""
    variant: Variant = "state"
    """state: reads object poses; vision: reads the cameras."""
    vae_motions: int = 240
    """Generated episodes of other bodies for stage 1 of the action VAE."""
    vae_steps: int = 2000
    """Optimiser steps of both stages."""
    jobs: int = 1
    """Runs at the same time, one process each."""
    threads: int = 1
    """CPU threads of each."""
    report_only: bool = False
    """Only write the report again, from the rollouts that are there."""
    document: Path | None = None
    """Markdown page: its part between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`
    becomes the tables, and NAME.svg beside it the figure if the page shows it; NAME is the last
    part of `output`."""
    policy: PolicyChoice = field(default_factory=FlowOptions)
    """The network."""

    def __post_init__(self) -> None:
        """Refuse arguments that do not fit together."""
        named = ("tasks", "guidance", "pretraining_tasks", "pretraining_bodies")
        for name in named if self.pretrained else named[:2]:
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise UsageError(f"{name} is {values}: name at least one, and none twice")
        if PLAIN not in self.guidance:
            raise UsageError(f"guidance is {self.guidance}: add {PLAIN}, the one compared with")
        self._check_starts()
        if not 0 <= self.first_seed <= MOST_SEEDS - self.seeds:
            raise UsageError(
                f"seeds {self.first_seed} to {self.first_seed + self.seeds - 1} are asked for, "
                f"must lie in 0 to {MOST_SEEDS - 1}"
            )
        require_at_least_one(**{name: getattr(self, name) for name in COUNTS})
        if not self.limit > 0.0:
            raise UsageError(f"limit is {self.limit} s, must be above 0")
        _ = self.finetuning  # refuses a network that does not read what the variant gives
        name, entry = entry_of(self.policy)
        if self.policy.preset == "full" and entry.large:
            raise UsageError(
                f"a study trains from random weights, {name} of full size needs published ones: "
                "give --policy.preset small, or compare two runs of `ate finetune --init`"
            )
        if self.early_rollouts > self.rollouts:
            raise UsageError(
                f"early_rollouts is {self.early_rollouts}, must be at most rollouts "
                f"({self.rollouts})"
            )
        if not all(0 < step <= self.steps for step in self.checkpoints):
            raise UsageError(
                f"checkpoints are {self.checkpoints}, must lie between 1 and steps ({self.steps})"
            )
        if unknown := set(self.pretrained) - set(self.tasks):
            raise UsageError(f"pretrained names {sorted(unknown)}, which is not among the tasks")
        if {*self.pretrained} & {*self.pretraining_tasks} and len(self.pretraining_tasks) == 1:
            raise UsageError(
                f"there is nothing to pre-train {self.pretraining_tasks[0]} on: its own "
                "demonstrations are left out, name another of pretraining_tasks"
            )

    def _check_starts(self) -> None:
        """Refuse what needs a pre-trained policy where there is none."""
        fresh = [task for task in self.tasks if task not in self.pretrained]
        if self.statistics == "init" and fresh:
            raise UsageError(
                f"statistics is init, and {', '.join(fresh)} starts from random weights: give "
                f"--pretrained {' '.join(self.tasks)}"
            )
        kinds: list[object] = []
        for arm in self.arms:  # parsing refuses what is misspelt
            kinds.append((arm.scratch, arm.guidance(Path(arm.vae))))
            if (first := kinds.index(kinds[-1])) < len(kinds) - 1:
                raise UsageError(
                    f"guidance has {arm.name} twice: {self.arms[first].name} is it, too"
                )
            if arm.needs_start and fresh:
                raise UsageError(
                    f"guidance is {arm.name!r}, which compares with a pre-trained policy, and "
                    f"{', '.join(fresh)} starts from random weights: give --pretrained "
                    f"{' '.join(self.tasks)}"
                )

    @property
    def training_seeds(self) -> range:
        """The seeds, in order."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def pretraining_folder(self) -> Path:
        """The study whose pre-trained policies and stage 1 are used."""
        return self.pretraining_from or self.output

    @property
    def finetuning(self) -> FinetuneConfig:
        """What the fine-tuning of all arms has in common, still without data and folder."""
        return FinetuneConfig(
            episodes=self.output,
            output=self.output,
            policy=self.policy,
            variant=self.variant,
            steps=self.steps,
            threads=self.threads,
        )

    def record(self) -> Record:
        """As it is kept in the study's folder."""
        return record_of(self, policy=entry_of(self.policy)[0])

    @property
    def arms(self) -> tuple[Arm, ...]:
        """`guidance`, parsed."""
        return tuple(parse_arm(text) for text in self.guidance)

    @property
    def rolled_out(self) -> dict[int, int]:
        """Step of each checkpoint -> rollouts, in order."""
        counts = dict.fromkeys(sorted({*self.checkpoints, self.steps}), self.early_rollouts)
        return {**counts, self.steps: self.rollouts}
