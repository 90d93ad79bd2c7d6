"""`ate evaluate`: seeded rollouts in the simulated cell, every policy on the same starts."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ate_core.contract import Cell, load_cell
from ate_core.errors import UsageError
from ate_core.trained_for import free_start, known_starts
from ate_policy.blind import BlindPolicy
from ate_policy.checkpoint import resolve_checkpoint
from ate_policy.chunking import ChunkMode
from ate_policy.loading import Precision
from ate_policy.policy import Policy, load_policy
from ate_policy.untrained import untrained_copy
from ate_sim.env import CellEnv
from ate_sim.world.sim_world import Difficulty
from training.configs.output_folder import make_folder
from training.evaluation.comparison import compare, success_rate
from training.evaluation.sequential import StoppingRule, anytime_p_value
from training.reporting.video import write_video
from training.studies.rollout import Trial, roll_out

LONGEST_DELAY_MS = 2000.0
"""Longest delay of inference that can be tried [ms]."""
UNTRAINED = "untrained"
"""Name of a control: the same network with random weights. Most of its chunks are refused, so that
it hardly moves."""
BLIND = "blind"
"""Name of the control that moves: the last checkpoint, with the scene of another start before its
eyes. What it achieves needs no eyes."""
CONTROLS = (UNTRAINED, BLIND)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Roll out checkpoints in the simulated cell, paired over seeds."""

    checkpoints: tuple[Path, ...]
    """Checkpoint or run folders; each is named after its folder."""
    output: Path
    """JSON file for the outcomes of all rollouts."""
    task: str = "pick_place"
    """Task to roll out."""
    episodes: int = 20
    """Rollouts per policy."""
    first_seed: int = 1000
    """Seed of the first start; starts that were demonstrated in training are refused."""
    difficulty: Difficulty = "normal"
    """Spread of the starts."""
    limit: float = 20.0
    """Longest rollout [s]."""
    execute: int | None = None
    """Actions executed of each chunk [ticks]; None: those of half a second."""
    chunk_mode: ChunkMode = "synchronous"
    """How chunks that overlap are used."""
    delay_ms: float = 0.0
    """Time from an observation to its chunk [ms], as a policy on a slow computer has; the arms go
    on meanwhile. 0: the world waits for the policy."""
    expected_delay_ms: float | None = None
    """Delay that `rtc` reckons with until it has measured one [ms]; None: none."""
    stop_early: bool = False
    """With two checkpoints: end as soon as one is better, or could no longer be shown to be; equal
    ones are called unequal in 5 % of the evaluations at most."""
    untrained: bool = True
    """Roll out an untrained network too: a control that must fail."""
    blind: bool = True
    """Roll out the last checkpoint also with the scene of another start before its eyes: a control
    that moves, and shows what is achieved without looking."""
    video: Path | None = None
    """MP4 file for the first rollout of the last checkpoint; needs the EGL packages."""
    cell: Path | None = None
    """cell.yaml; default: the packaged one."""
    device: str = "cpu"
    """Where the policies run: cpu, cuda, auto."""
    precision: Precision = "auto"
    """What they compute in; auto: bf16 for pi0 and rdt on a GPU, else fp32."""

    def __post_init__(self) -> None:
        """Refuse arguments that cannot work."""
        if self.episodes < 1:
            raise UsageError(f"episodes is {self.episodes}; need at least 1")
        if not self.limit > 0.0:
            raise UsageError(f"limit is {self.limit} s, must be above 0")
        if not 0.0 <= self.delay_ms <= LONGEST_DELAY_MS:
            raise UsageError(
                f"delay_ms is {self.delay_ms:g} ms, must be 0 to {LONGEST_DELAY_MS:g}: "
                "chunks cover about a second"
            )
        if self.stop_early and len(self.checkpoints) != 2:
            raise UsageError(
                f"stop_early compares 2 checkpoints, {len(self.checkpoints)} are given: "
                "leave it out, or give two"
            )
        expected = self.expected_delay_ms
        if expected is not None and not 0.0 <= expected <= LONGEST_DELAY_MS:
            raise UsageError(
                f"expected_delay_ms is {expected:g} ms, must be 0 to {LONGEST_DELAY_MS:g}"
            )


def evaluate(config: EvaluateConfig) -> int:
    """Roll out every policy on the same seeds and write all outcomes."""
    if config.output.is_dir():
        raise UsageError(f"output {config.output} is a folder: name a JSON file")
    make_folder(config.output.parent)
    cell = load_cell(config.cell, "sim")
    folders = _checkpoints(config)
    policies = _load_policies(folders, config, cell)
    last = list(policies)[-1]
    if config.untrained:
        policies[UNTRAINED] = untrained_copy(policies[last])
    env = _environment(config.task, cell, policies[last])
    seeds = range(config.first_seed, config.first_seed + config.episodes)
    if config.blind:
        policies[BLIND] = BlindPolicy(policies[last], env.reset(seeds.stop, config.difficulty))
    frames: list[NDArray[np.uint8]] = []
    outcomes: dict[str, list[Trial]] = {name: [] for name in policies}
    for seed in track(seeds, description=f"{config.task:16}", transient=True):
        for name, policy in policies.items():
            trial = roll_out(
                env,
                policy,
                seed,
                limit=config.limit,
                difficulty=config.difficulty,
                execute=config.execute,
                mode=config.chunk_mode,
                delay=1e-3 * config.delay_ms,
                expected_delay=1e-3 * (config.expected_delay_ms or 0.0),
                frames=frames if config.video and name == last and seed == seeds[0] else None,
            )
            outcomes[name].append(trial)
        if config.stop_early and is_decided(outcomes, len(seeds)):
            break
    env.close()
    if config.video:
        write_video(config.video, frames, cell.tick_rate)  # one frame per tick
    _write(config, folders, outcomes)
    _print(outcomes, config.stop_early)
    return 0


def _checkpoints(config: EvaluateConfig) -> dict[str, Path]:
    """Folders by name; a run that trains on meanwhile may point to a newer one later."""
    folders = {_name(path): resolve_checkpoint(path) for path in config.checkpoints}
    if len(folders) != len(config.checkpoints):
        raise UsageError("two checkpoints have the same name: rename one of the folders")
    return folders


def _load_policies(
    folders: Mapping[str, Path], config: EvaluateConfig, cell: Cell
) -> dict[str, Policy]:
    """Policies by name, each fit for the task and the chunks asked for."""
    policies = {
        name: load_policy(folder, cell, config.device, config.precision)
        for name, folder in folders.items()
    }
    for name, policy in policies.items():
        if name in CONTROLS:
            raise UsageError(f"a checkpoint is named {name}, as a control is: rename its folder")
        if config.execute is not None and config.execute > policy.horizon:
            raise UsageError(
                f"execute is {config.execute} ticks, chunks of {name} have {policy.horizon}: "
                f"give --execute {policy.horizon} or less"
            )
        starts = range(config.first_seed, config.first_seed + config.episodes)
        if known := known_starts(policy.training, starts):
            raise UsageError(
                f"{name}: {known}: success there may be memory; give --first-seed "
                f"{free_start(policy.training)}"
            )
        trained_on = policy.training.get("task")
        if trained_on and trained_on != config.task:
            raise UsageError(
                f"{name} was trained on {trained_on}, not on {config.task}: "
                f"give --task {trained_on}"
            )
    return policies


def _name(path: Path) -> str:
    return path.resolve().name if path.name in ("", ".", "last") else path.name


def _environment(task: str, cell: Cell, policy: Policy) -> CellEnv:
    reads = policy.config
    if not reads.cameras:
        return CellEnv(task, cell)
    # At the cameras' own size: the policy shrinks it by the same averaging as recorded images.
    return CellEnv(task, cell, cameras=reads.cameras, image_size=None)


def _write(
    config: EvaluateConfig, folders: Mapping[str, Path], outcomes: dict[str, list[Trial]]
) -> None:
    document = {
        "task": config.task,
        "difficulty": config.difficulty,
        "first_seed": config.first_seed,
        "chunk_mode": config.chunk_mode,
        "stop_early": config.stop_early,
        "delay_ms": config.delay_ms,
        "checkpoints": {name: str(folder) for name, folder in folders.items()},
        "policies": {
            name: [dataclasses.asdict(trial) for trial in trials]
            for name, trials in outcomes.items()
        },
    }
    config.output.write_text(json.dumps(document, indent=1) + "\n")


def _print(outcomes: dict[str, list[Trial]], stopped: bool) -> None:
    table = Table(
        "policy",
        "success",
        "stuck",
        "score",
        "median duration [s]",
        "jerk [rad/s^3]",
        "seam mean / max [rad]",
        "refused chunks",
    )
    for name, trials in outcomes.items():
        table.add_row(
            name,
            str(success_rate(sum(t.success for t in trials), len(trials))),
            str(sum(t.outcome == "stuck" for t in trials)),
            f"{np.mean([t.score for t in trials]):.2f}",
            f"{np.median([t.duration for t in trials]):.1f}",
            f"{np.median([t.jerk for t in trials]):.0f}",
            _seams(trials),
            str(sum(t.refused for t in trials)),
        )
    console = Console()
    console.print(table)
    for name, trials in outcomes.items():
        if sentence := seam_sentence(trials):
            console.print(f"{name}: {sentence}")
    for line in [verdict(outcomes)] if stopped else comparisons(outcomes):
        console.print(line)


def _seams(trials: Sequence[Trial]) -> str:
    seams = [seam for trial in trials for seam in trial.seams]
    return f"{np.mean(seams):.3f} / {max(seams):.3f}" if seams else ""


def seam_sentence(trials: Sequence[Trial]) -> str:
    """How well chunks go on with each other; empty where none took over from another."""
    jumps = [jump for trial in trials for jump in trial.seam_jumps]
    changes = [change for trial in trials for change in trial.seam_velocities]
    if not jumps or not changes:
        return ""
    return (
        f"{len(jumps)} seams; from the chunk before, a new one is off by {np.mean(jumps):.3f} rad "
        f"in the mean, {max(jumps):.3f} at most; the velocity changes by {np.mean(changes):.2f} "
        f"rad/s, {max(changes):.2f} at most"
    )


def comparisons(outcomes: Mapping[str, Sequence[Trial]]) -> list[str]:
    """One sentence for the first policy against every other trained one."""
    names = [name for name in outcomes if name not in CONTROLS]
    lines = []
    for other in names[1:]:
        first = [trial.success for trial in outcomes[names[0]]]
        second = [trial.success for trial in outcomes[other]]
        lines.append(f"{names[0]} against {other}, same starts: {compare(first, second)}")
    return lines


def _differing(outcomes: Mapping[str, Sequence[Trial]]) -> tuple[str, str, int, int]:
    """The two trained policies, and on how many starts only the one or the other succeeded."""
    first, second = (name for name in outcomes if name not in CONTROLS)
    pairs = [
        (a.success, b.success) for a, b in zip(outcomes[first], outcomes[second], strict=True)
    ]
    return first, second, pairs.count((True, False)), pairs.count((False, True))


def is_decided(outcomes: Mapping[str, Sequence[Trial]], most: int) -> bool:
    """Whether more rollouts could change nothing: one is better, or it could not be shown.

    Args:
        outcomes: so far, as many of each policy.
        most: rollouts of each that there may be.
    """
    first, _, only_first, only_second = _differing(outcomes)
    rule = StoppingRule()
    left = most - len(outcomes[first])
    return bool(rule.better(only_first, only_second)) or not rule.is_open(
        only_first, only_second, left
    )


def verdict(outcomes: Mapping[str, Sequence[Trial]]) -> str:
    """What the stopping rule says; no interval holds for a difference that ended its own trial."""
    first, second, only_first, only_second = _differing(outcomes)
    count = len(outcomes[first])
    better = StoppingRule().better(only_first, only_second)
    told = f"{first if better == 'first' else second} is better" if better else "none is better"
    return (
        f"{first} against {second}, same starts, stopped after {count}: {told} as far as can be "
        f"shown; only {first} succeeded in {only_first}, only {second} in {only_second}, "
        f"p = {anytime_p_value(only_first, only_second):.2g} at any time of looking"
    )
