"""`ate evaluate`: seeded rollouts in the simulated cell, every policy on the same starts."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ate_core.contract import Cell, load_cell
from ate_core.errors import SafetyError, UsageError
from ate_policy.chunk_check import ChunkLimits
from ate_policy.chunking import EXECUTED_SECONDS, ActionQueue, ChunkingConfig, ticks_in
from ate_policy.loading import Precision
from ate_policy.policy import Policy, load_policy
from ate_policy.untrained import untrained_copy
from ate_sim.env import CellEnv
from training.data.folders import make_folder
from training.reporting.video import write_video
from training.studies.comparison import compare, success_rate

UNTRAINED = "untrained"
"""Name of the control: the same network with random weights."""
VIDEO_SIZE = (270, 480)
"""Height and width of the video [px]."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Roll out checkpoints in the simulated cell, paired over seeds."""

    checkpoints: tuple[Path, ...]
    """Checkpoint or run folders; each is named after its folder."""
    output: Path
    """JSON file for the outcomes of all trials."""
    task: str = "pick_place"
    """Task to roll out."""
    episodes: int = 20
    """Trials per policy."""
    first_seed: int = 1000
    """Seed of the first start; demonstrations use lower ones."""
    difficulty: Literal["normal", "hard"] = "normal"
    """Spread of the starts."""
    limit: float = 20.0
    """Longest trial [s]."""
    execute: int | None = None
    """Actions executed of each chunk [ticks]; None: those of half a second."""
    untrained: bool = True
    """Roll out an untrained network too: the control that must fail."""
    video: Path | None = None
    """MP4 file for the first trial of the last checkpoint; needs the EGL packages."""
    cell: Path | None = None
    """cell.yaml; default: the packaged one."""
    device: str = "cpu"
    """Where the policies run: cpu, cuda, auto."""
    precision: Precision = "auto"
    """What they compute in; auto: bf16 for pi0 and rdt on a GPU, else fp32."""

    def executed(self, cell: Cell) -> int:
        """Actions executed of each chunk on a cell."""
        if self.execute is None:
            return ticks_in(EXECUTED_SECONDS, cell.tick_rate)
        return self.execute


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One rollout."""

    seed: int
    """Seed of the start and of the sampler's noise."""
    success: bool
    """Whether the task was done before the limit."""
    score: float
    """Best graded score, 0..1."""
    duration: float
    """Time to success or to the limit [s]."""
    jerk: float
    """Root mean square jerk of the measured joints [rad/s^3]."""
    refused: int
    """Chunks that the check refused, so that the arms held."""


def roll_out(
    env: CellEnv,
    policy: Policy,
    seed: int,
    config: EvaluateConfig,
    frames: list[NDArray[np.uint8]] | None = None,
) -> Trial:
    """One trial; frames of the cell's first camera are appended to ``frames`` when given."""
    observation = env.reset(seed, config.difficulty)
    # demonstrations may have been recorded with other words than the simulated task's
    known = policy.only_instruction
    instruction = env.instruction if known is None else known
    queue = ActionQueue(ChunkingConfig(execute=config.executed(env.cell)))
    limits = ChunkLimits.of_cell(env.cell)
    states, best, success, refused = [observation.state], 0.0, False, 0
    ticks = round(config.limit * env.cell.tick_rate)
    action = observation.state.copy()
    for tick in range(ticks):
        if queue.wants_chunk(tick):
            observation = dataclasses.replace(observation, instruction=instruction)
            chunk = policy.infer(observation, seed * ticks + tick)
            if chunk_is_safe(limits, chunk, observation.state):
                queue.mark_requested(tick)
                queue.add(chunk, tick)
            else:
                refused += 1
        wanted = queue.action(tick + 1)
        action = action if wanted is None else wanted  # an empty queue means hold
        observation = env.step(action)
        states.append(observation.state)
        if frames is not None:
            frames.append(env.overview(*VIDEO_SIZE))
        best = max(best, env.score())
        if env.success():
            success = True
            break
    return Trial(
        seed=seed,
        success=success,
        score=best,
        duration=(tick + 1) / env.cell.tick_rate,
        jerk=jerk(np.stack(states), env.cell.tick_rate),
        refused=refused,
    )


def chunk_is_safe(
    limits: ChunkLimits, chunk: NDArray[np.floating], state: NDArray[np.floating]
) -> bool:
    """Whether the policy node would have let this chunk pass."""
    try:
        limits.check(chunk, state)
    except SafetyError:
        return False
    return True


def jerk(states: NDArray[np.floating], rate: float) -> float:
    """Root mean square of the third derivative of states (T, D) on ticks [1/s] -> [unit/s^3]."""
    if len(states) < 4:
        return 0.0
    return float(np.sqrt(np.mean((np.diff(states, n=3, axis=0) * rate**3) ** 2)))


def evaluate(config: EvaluateConfig) -> int:
    """Roll out every policy on the same seeds and write all outcomes."""
    if config.episodes < 1:
        raise UsageError(f"episodes is {config.episodes}; need at least 1")
    if not config.limit > 0.0:
        raise UsageError(f"limit is {config.limit} s, must be above 0")
    if config.output.is_dir():
        raise UsageError(f"output {config.output} is a folder: name a JSON file")
    make_folder(config.output.parent)
    cell = load_cell(config.cell, "sim")
    policies = _load_policies(config, cell)
    last = list(policies)[-1]
    if config.untrained:
        policies[UNTRAINED] = untrained_copy(policies[last])
    env = _environment(config.task, cell, policies[last])
    seeds = range(config.first_seed, config.first_seed + config.episodes)
    frames: list[NDArray[np.uint8]] = []
    outcomes: dict[str, list[Trial]] = {}
    for name, policy in policies.items():
        outcomes[name] = [
            roll_out(
                env,
                policy,
                seed,
                config,
                frames if config.video and name == last and seed == seeds[0] else None,
            )
            for seed in track(seeds, description=f"{name:16}", transient=True)
        ]
    env.close()
    if config.video:
        write_video(config.video, frames, cell.tick_rate)  # one frame per tick
    _write(config, outcomes)
    _print(outcomes)
    return 0


def _load_policies(config: EvaluateConfig, cell: Cell) -> dict[str, Policy]:
    """Policies by name, each fit for the task and the chunks asked for."""
    policies = {
        _name(path): load_policy(path, cell, config.device, config.precision)
        for path in config.checkpoints
    }
    if len(policies) != len(config.checkpoints):
        raise UsageError("two checkpoints have the same name: rename one of the folders")
    for name, policy in policies.items():
        execute = config.executed(cell)
        if execute > policy.horizon:
            raise UsageError(
                f"execute is {execute} ticks, chunks of {name} have {policy.horizon}: "
                f"give --execute {policy.horizon} or less"
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


def _write(config: EvaluateConfig, outcomes: dict[str, list[Trial]]) -> None:
    document = {
        "task": config.task,
        "difficulty": config.difficulty,
        "first_seed": config.first_seed,
        "policies": {
            name: [dataclasses.asdict(trial) for trial in trials]
            for name, trials in outcomes.items()
        },
    }
    config.output.write_text(json.dumps(document, indent=1) + "\n")


def _print(outcomes: dict[str, list[Trial]]) -> None:
    table = Table(
        "policy", "success", "score", "median duration [s]", "jerk [rad/s^3]", "refused chunks"
    )
    for name, trials in outcomes.items():
        table.add_row(
            name,
            str(success_rate(sum(t.success for t in trials), len(trials))),
            f"{np.mean([t.score for t in trials]):.2f}",
            f"{np.median([t.duration for t in trials]):.1f}",
            f"{np.median([t.jerk for t in trials]):.0f}",
            str(sum(t.refused for t in trials)),
        )
    console = Console()
    console.print(table)
    for line in comparisons(outcomes):
        console.print(line)


def comparisons(outcomes: Mapping[str, Sequence[Trial]]) -> list[str]:
    """One sentence for the first policy against every other trained one."""
    names = [name for name in outcomes if name != UNTRAINED]
    lines = []
    for other in names[1:]:
        first = [trial.success for trial in outcomes[names[0]]]
        second = [trial.success for trial in outcomes[other]]
        lines.append(f"{names[0]} against {other}, same starts: {compare(first, second)}")
    return lines
