"""`ate evaluate`: seeded rollouts in the simulated cell, every policy on the same starts."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from ate_core.checkpoint_folders import LATEST
from ate_core.contract import Cell, load_cell
from ate_core.errors import CheckpointError, UsageError, require_seed
from ate_core.files import replace_text
from ate_core.trained_for import free_start, known_starts, objects_of, tasks_of
from ate_policy.blind import BlindPolicy
from ate_policy.checkpoint import resolve_checkpoint
from ate_policy.chunking import GOING_ON, ChunkMode, executed_seconds
from ate_policy.first_look import compare_training
from ate_policy.loading import Precision
from ate_policy.policy import Policy, load_policy
from ate_policy.untrained import untrained_copy
from ate_sim.env import CellEnv
from ate_sim.tasks import load_task
from ate_sim.world.perturbations import Difficulty, Perturbation, parse_perturbation
from training.configs.output_folder import make_folder
from training.evaluation.journal import Journal, open_journal
from training.evaluation.record import Weights, as_document, versions, video_of, worst
from training.evaluation.summary import (
    BLIND,
    CONTROLS,
    UNTRAINED,
    is_decided,
    print_outcomes,
    print_perturbed,
)
from training.reporting.terminal import terminal
from training.reporting.video import write_video
from training.studies.rollout import Trial, roll_out

LONGEST_DELAY_MS = 2000.0
"""Longest delay of inference that can be tried [ms]."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Roll out checkpoints in the simulated cell, paired over seeds.

    Every rollout is on disk when it ends; the same command goes on after a kill.
    """

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
    perturbations: tuple[str, ...] = ()
    """Roll out the checkpoints also with these, on the same seeds: radius_3.5cm, radius_6.5cm,
    light_low, light_high, light_flicker (2 Hz), distractors, disturbance (what was moved is put
    back once), or several joined by +."""
    limit: float = 20.0
    """Longest rollout [s]."""
    execute: int | None = None
    """Actions executed of each chunk [ticks]; None: the usual number of the chunk mode."""
    chunk_mode: ChunkMode = "synchronous"
    """How chunks that overlap are used."""
    delay_ms: float = 0.0
    """Time from an observation to its chunk [ms], as a policy on a slow computer has; the arms go
    on meanwhile. 0: the world waits for the policy."""
    expected_delay_ms: float | None = None
    """Delay that `rtc` reckons with until it has measured one [ms]; None: none."""
    stop_early: bool = False
    """With two checkpoints: end as soon as one is better, or could no longer be shown to be; equal
    ones are called unequal in 5 % of the evaluations at most, under each perturbation apart."""
    untrained: bool = True
    """Roll out an untrained network too: a control that must fail."""
    blind: bool = True
    """Roll out the last checkpoint also with the scene of another start before its eyes: a control
    that moves, and shows what is achieved without looking."""
    video: Path | None = None
    """MP4 file for the first rollout of the last checkpoint; needs the EGL packages."""
    film_worst: int = 0
    """Worst rollouts of each checkpoint to play again and film, for `ate report`; needs EGL."""
    cell: Path | None = None
    """cell.yaml; default: the packaged one."""
    device: str = "cpu"
    """Where the policies run: cpu, cuda, auto."""
    precision: Precision = "auto"
    """What they compute in; auto: bf16 for pi0 and rdt on a GPU, else fp32."""

    def __post_init__(self) -> None:
        """Refuse arguments that cannot work."""
        if not self.checkpoints:
            raise UsageError("there are no checkpoints: give --checkpoints")
        if self.episodes < 1:
            raise UsageError(f"episodes is {self.episodes}; need at least 1")
        require_seed(first_seed=self.first_seed, last_seed=self.first_seed + self.episodes)
        for words in self.perturbations:
            if parse_perturbation(words) == Perturbation():
                raise UsageError(f"perturbation {words!r} changes nothing: leave it out")
        if len(set(self.perturbations)) != len(self.perturbations):
            raise UsageError(f"perturbations {' '.join(self.perturbations)}: give each once")
        if not 0 <= self.film_worst <= self.episodes:
            raise UsageError(
                f"film_worst is {self.film_worst}, must be 0 to {self.episodes} (episodes)"
            )
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
    weights = Weights.of(folders)
    last = list(policies)[-1]
    if config.untrained:
        policies[UNTRAINED] = untrained_copy(policies[last])
    env = _environment(config.task, cell, policies.values())
    if config.blind:
        other = env.reset(config.first_seed + config.episodes, config.difficulty)
        policies[BLIND] = BlindPolicy(policies[last], other)
    with open_journal(config.output, _decides(config, weights, cell)) as journal:
        if journal:
            terminal().print(f"going on behind {len(journal)} rollouts that were cut off")
        outcomes = _roll_out_all(env, policies, config, journal, "none")
        tried = {name: policies[name] for name in folders}
        perturbed = {
            words: _roll_out_all(env, tried, config, journal, words)
            for words in config.perturbations
        }
        _write(config, weights, cell, outcomes, perturbed)  # before anything that could fail
    print_outcomes(outcomes, config.stop_early)
    if perturbed:
        print_perturbed(outcomes, perturbed, config.stop_early)
    if config.video:
        _film(env, policies[last], config, config.first_seed, config.video)
    for name in folders:
        for trial in worst(outcomes[name], config.film_worst):
            _film(
                env, policies[name], config, trial.seed, video_of(config.output, name, trial.seed)
            )
    env.close()
    return 0


def _roll_out_all(
    env: CellEnv,
    policies: Mapping[str, Policy],
    config: EvaluateConfig,
    journal: Journal,
    perturbation: str,
) -> dict[str, list[Trial]]:
    """Rollouts by policy; all policies on one start before the next."""
    outcomes: dict[str, list[Trial]] = {name: [] for name in policies}
    for seed in _seeds(config, config.task if perturbation == "none" else perturbation):
        for name, policy in policies.items():
            trial = journal.find(perturbation, name, seed)
            if trial is None:
                trial = _roll_out(env, policy, seed, config, perturbation)
                journal.keep(name, trial)
            outcomes[name].append(trial)
        if config.stop_early and is_decided(outcomes, config.episodes):
            break
    return outcomes


def _film(env: CellEnv, policy: Policy, config: EvaluateConfig, seed: int, file: Path) -> None:
    """Play a rollout again, which goes as before, and film it."""
    frames: list[NDArray[np.uint8]] = []
    _roll_out(env, policy, seed, config, frames=frames)
    write_video(file, frames, env.cell.tick_rate)  # one frame per tick


def _seeds(config: EvaluateConfig, what: str) -> Iterable[int]:
    seeds = range(config.first_seed, config.first_seed + config.episodes)
    return track(seeds, description=f"{what:16}", transient=True)


def _roll_out(
    env: CellEnv,
    policy: Policy,
    seed: int,
    config: EvaluateConfig,
    perturbation: str = "none",
    frames: list[NDArray[np.uint8]] | None = None,
) -> Trial:
    return roll_out(
        env,
        policy,
        seed,
        limit=config.limit,
        difficulty=config.difficulty,
        execute=config.execute,
        mode=config.chunk_mode,
        delay=1e-3 * config.delay_ms,
        expected_delay=1e-3 * (config.expected_delay_ms or 0.0),
        perturbation=perturbation,
        frames=frames,
    )


def _checkpoints(config: EvaluateConfig) -> dict[str, Path]:
    """Folders by name; a run that trains on meanwhile may point to a newer one later."""
    called = [_called(path) for path in config.checkpoints]
    names = [path.name for path in called]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}-{path.name}" for path in called]
    folders: dict[str, Path] = {}
    for name, path in zip(names, config.checkpoints, strict=True):
        if name in folders:
            raise UsageError(
                f"two checkpoints have the same name, {name}: give each once, or rename a folder"
            )
        folders[name] = resolve_checkpoint(path)
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
        _require_training(name, policy, config.task, cell)
        _require_chunks(name, policy, config, cell)
        starts = range(config.first_seed, config.first_seed + config.episodes)
        if known := known_starts(policy.training, starts):
            raise UsageError(
                f"{name}: {known}: success there may be memory; give --first-seed "
                f"{free_start(policy.training)}"
            )
        tasks = tasks_of(policy.training)
        if tasks and config.task not in tasks:
            raise UsageError(
                f"{name} was trained on {', '.join(tasks)}, not on {config.task}: "
                f"give --task {' or '.join(tasks)}"
            )
        _require_objects(name, policy, config.task)
    return policies


def _require_objects(name: str, policy: Policy, task: str) -> None:
    """Refuse a policy of object poses that are those of others here, or in another order."""
    learned = objects_of(policy.training)
    shown = load_task(task).object_names
    if policy.config.objects and learned and learned != shown:
        raise UsageError(
            f"{name} learned from poses of {', '.join(learned)}, {task} shows "
            f"{', '.join(shown)} in this order: give the task of its demonstrations"
        )


def _require_chunks(name: str, policy: Policy, config: EvaluateConfig, cell: Cell) -> None:
    """Refuse to play chunks as they cannot be played.

    Raises:
        UsageError: saying what to give instead.
    """
    seconds = 1e-3 * max(config.delay_ms, config.expected_delay_ms or 0.0)
    covered = policy.horizon / cell.tick_rate
    if config.chunk_mode in GOING_ON and not policy.continues:
        raise UsageError(
            f"chunk_mode is {config.chunk_mode}, but {name} ({policy.kind}) cannot go on with "
            "a chunk: give --chunk-mode synchronous or temporal_ensemble"
        )
    if seconds >= covered:
        raise UsageError(
            f"the delay is {seconds:g} s, a chunk of {name} covers {covered:g} s and would be "
            "over when it comes: give less"
        )
    if config.execute is not None and config.execute > policy.horizon:
        raise UsageError(
            f"execute is {config.execute} ticks, chunks of {name} have {policy.horizon}: "
            f"give --execute {policy.horizon} or less"
        )


def _require_training(name: str, policy: Policy, task: str, cell: Cell) -> None:
    """Refuse a policy that would see or mean something else here, and warn of what differs.

    Raises:
        UsageError: naming it and what differs.
    """
    words = policy.only_instruction or load_task(task).instruction
    try:
        compare_training(policy, cell, words if policy.config.language else "")
    except CheckpointError as error:
        raise UsageError(f"{name}: {error}") from None


def _called(path: Path) -> Path:
    """The folder whose name people use: of the newest checkpoint of a run, the run."""
    path = Path(os.path.abspath(path))
    return path.parent if path.name == LATEST else path


def _environment(task: str, cell: Cell, policies: Iterable[Policy]) -> CellEnv:
    """A scene that shows what any of the policies reads."""
    read = {camera for policy in policies for camera in policy.config.cameras}
    cameras = tuple(camera for camera in cell.layout.cameras if camera in read)
    if not cameras:
        return CellEnv(task, cell)
    # At the cameras' own size: the policy shrinks it by the same averaging as recorded images.
    return CellEnv(task, cell, cameras=cameras, image_size=None)


def _write(
    config: EvaluateConfig,
    weights: Weights,
    cell: Cell,
    outcomes: Mapping[str, list[Trial]],
    perturbed: Mapping[str, Mapping[str, list[Trial]]],
) -> None:
    document = as_document(_settings(config, cell), weights, outcomes, perturbed)
    replace_text(config.output, json.dumps(document, indent=1) + "\n")


def _decides(config: EvaluateConfig, weights: Weights, cell: Cell) -> dict[str, Any]:
    """All that a rollout depends on, the scene that the blind control sees and its owner too."""
    return {
        **_settings(config, cell),
        "device": config.device,
        "checkpoints": list(weights.folders),
        "hashes": weights.hashes,
        "versions": versions(),
        **({"episodes": config.episodes} if config.blind else {}),
    }


def _settings(config: EvaluateConfig, cell: Cell) -> dict[str, Any]:
    """Options that decide how a rollout goes."""
    return {
        "task": config.task,
        "difficulty": config.difficulty,
        "first_seed": config.first_seed,
        "limit": config.limit,
        "execute": config.execute or f"{executed_seconds(config.chunk_mode):g} s",
        "chunk_mode": config.chunk_mode,
        "stop_early": config.stop_early,
        "delay_ms": config.delay_ms,
        "expected_delay_ms": config.expected_delay_ms,
        "precision": config.precision,
        "cell": cell.name if config.cell else "packaged",
        "cell_sha256": cell.sha256,
    }
