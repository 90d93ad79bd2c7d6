"""Stages of a study. Each leaves a folder or file that shows that it is done.

demonstrations/<task>/seed_0/          HDF5 episodes
pretraining/<task>/{episodes,policy}   other bodies doing other tasks, and the policy of them
vae/prior                              stage 1 of the action VAE
                                       (both: of another study where that is asked for)
vae/<task>/seed_0                      stage 2, on the demonstrations; untrained_0 etc. beside it
policies/<task>/<arm>/seed_0           run folder with the checkpoints
rollouts/<task>/<arm>/seed_0/step_000500.json
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import simplejpeg

from ate_core.checkpoint_folders import LATEST
from ate_core.contract import Cell, load_cell
from ate_core.devices import POSE_SIZE
from ate_core.errors import TrainingError, UsageError
from ate_core.files import replace_text
from ate_core.json_text import UNREADABLE
from ate_policy.chunking import ticks_in
from ate_policy.models.registry import entry_of
from ate_policy.policy import load_policy
from ate_sim.embodiments import FastEpisode, bodies_of, collect_fast
from ate_sim.env import CellEnv
from ate_sim.tasks import load_task
from training.configs.finetune import FinetuneConfig
from training.configs.study import VAES, Arm, StudyConfig
from training.configs.train_vae import TrainVaeConfig
from training.data.episode_file import Episode, write_episode
from training.finetune import finetune
from training.studies.rollout import Trial, roll_out
from training.train_vae import train_vae

SEED_STRIDE = 10_000
"""Distance between the starts of two seeds of the study: none is shared."""
PRETRAINING_STARTS = 1_000_000
"""First start of the other bodies."""
ROLLOUT_STARTS = 2_000_000
"""First start of the rollouts."""
EXECUTED_IN_STUDIES = 0.5
"""Executed of each chunk [s]: what was rolled out before can be gone on with, and stays true."""
ATTEMPTS = 4
"""Starts that are tried per demonstration wanted, before giving up on the expert."""
JPEG_QUALITY = 95
"""Of demonstrations' images."""
PROGRESS = "progress.json"
"""Beside other bodies' episodes: tasks and bodies that are recorded, and how many episodes."""
DONE = "done"
"""Empty file in a folder of demonstrations that is whole."""

Config = TypeVar("Config", FinetuneConfig, TrainVaeConfig)


def record_demonstrations(config: StudyConfig, task: str, seed: int) -> Path:
    """Scripted demonstrations of a task by the cell's own arms."""
    folder = config.output / "demonstrations" / task / f"seed_{seed}"
    if (folder / DONE).is_file():
        return folder
    cell, wanted = load_cell(hardware="sim"), config.demonstrations
    cameras = cell.layout.cameras if config.variant == "vision" else ()
    first = seed * SEED_STRIDE
    count = 0
    for start in range(first, first + ATTEMPTS * wanted):
        if count == wanted:
            break
        [made] = collect_fast(task, [start], cameras=cameras)
        if made.success:
            write_episode(folder / f"episode_{count:06d}.hdf5", as_episode(made, cell))
            count += 1
    if count < wanted:
        raise TrainingError(
            f"the expert of {task} succeeded {count} times of {ATTEMPTS * wanted}, "
            f"{wanted} demonstrations are wanted: ask for fewer"
        )
    (folder / DONE).touch()
    return folder


def pretrain_policy(config: StudyConfig, task: str) -> Path:
    """A policy of other bodies doing other tasks, from which that of `task` starts."""
    folder = config.pretraining_folder / "pretraining" / task
    episodes = folder / "episodes"
    if not (episodes / DONE).is_file():
        _record_other_bodies(config, task, episodes)
        (episodes / DONE).touch()
    settings = dataclasses.replace(
        config.finetuning,
        episodes=episodes,
        output=folder / "policy",
        steps=config.pretraining_steps,
    )
    return _train(finetune, settings)


def _record_other_bodies(config: StudyConfig, task: str, folder: Path) -> None:
    cell = load_cell(hardware="sim")
    cameras = cell.layout.cameras if config.variant == "vision" else ()
    objects = len(load_task(task).object_names)
    others = [name for name in config.pretraining_tasks if name != task]
    pairs = [(name, body) for name in others for body in config.pretraining_bodies]
    progress = folder / PROGRESS
    recorded, index = json.loads(progress.read_text()) if progress.is_file() else (0, 0)
    for number, (name, body) in enumerate(pairs[recorded:], start=recorded):
        total = config.pretraining_demonstrations
        share = total // len(pairs) + (number < total % len(pairs))
        first = PRETRAINING_STARTS + number * SEED_STRIDE
        made = collect_fast(
            name, range(first, first + share), embodiment=bodies_of(cell)[body], cameras=cameras
        )
        for one in made:
            if one.success:
                episode = as_episode(one, cell, objects)
                write_episode(folder / f"episode_{index:06d}.hdf5", episode)
                index += 1
        replace_text(progress, json.dumps([number + 1, index]) + "\n")


def as_episode(made: FastEpisode, cell: Cell, objects: int | None = None) -> Episode:
    """A demonstration of the fast environment as the converter would write it.

    Args:
        made: The demonstration; forces are not recorded there and become 0, velocities are
            differences of positions.
        cell: Its contract.
        objects: Object poses wanted; missing ones are added at the origin, so that one network
            reads tasks with fewer objects. None: those of the task.
    """
    ticks, poses = len(made.state), made.environment
    missing = 0 if objects is None else objects - poses.shape[1]
    if missing < 0:
        raise UsageError(
            f"{made.task} has {poses.shape[1]} objects, the task to be learned {objects}: "
            "pre-train on tasks with as many objects or fewer"
        )
    absent = np.zeros((ticks, missing, POSE_SIZE), np.float32)
    absent[..., -1] = 1.0
    return Episode(
        state=made.state,
        velocity=np.gradient(made.state[:, list(cell.joint_columns)], axis=0)
        * np.float32(cell.tick_rate),
        wrench=np.zeros((ticks, 6 * len(cell.arms)), np.float32),
        action=made.action,
        timestamps_ns=np.round(np.arange(ticks) * 1e9 / cell.tick_rate).astype(np.int64),
        environment=np.concatenate([poses, absent], axis=1),
        images={
            key: [simplejpeg.encode_jpeg(image, JPEG_QUALITY, "RGB") for image in images]
            for key, images in made.images.items()
        },
        cell=cell,
        task=made.task,
        instruction=load_task(made.task).instruction,
        operator="scripted",
        seed=made.seed,
    )


def train_prior(config: StudyConfig) -> Path:
    """Stage 1 of the action VAE, on motion of other bodies; one for the whole study."""
    return _train(
        train_vae,
        TrainVaeConfig(
            stage=1,
            output=config.pretraining_folder / "vae" / "prior",
            motions=config.vae_motions,
            steps=config.vae_steps,
            threads=config.threads,
        ),
    )


def train_aligned(config: StudyConfig, task: str, seed: int, variant: str = "") -> Path:
    """Stage 2 on the demonstrations of one seed.

    Args:
        config: Of the study.
        task: Whose demonstrations.
        seed: Of the study.
        variant: A word of `VAES`; empty: the paper's.
    """
    kept = pretrain_policy(config, task) if config.statistics == "init" else None
    settings = TrainVaeConfig(
        stage=2,
        output=config.output / "vae" / task / f"{variant or 'seed'}_{seed}",
        episodes=record_demonstrations(config, task, seed),
        prior=train_prior(config),
        statistics_of=kept,
        by_quantiles=kept is None and entry_of(config.policy)[1].config.by_quantiles,
        steps=config.vae_steps,
        seed=seed,
        threads=config.threads,
    )
    if variant:
        settings = dataclasses.replace(settings, **VAES[variant])
    return _train(train_vae, settings)


def train_policy(config: StudyConfig, task: str, arm: Arm, seed: int) -> Path:
    """Fine-tune one arm on the demonstrations of one seed."""
    starts = task in config.pretrained and not arm.scratch
    settings = dataclasses.replace(
        config.finetuning,
        episodes=record_demonstrations(config, task, seed),
        output=config.output / "policies" / task / arm.folder / f"seed_{seed}",
        init=pretrain_policy(config, task) if starts else None,
        statistics=config.statistics if starts else None,  # as the action VAE's
        save_every=math.gcd(*config.rolled_out),
        seed=seed,
    )
    vae = train_aligned(config, task, seed, arm.vae) if arm.steered else None
    return _train(finetune, dataclasses.replace(settings, guidance=arm.guidance(vae)))


def rollouts_file(config: StudyConfig, task: str, arm: Arm, seed: int, step: int) -> Path:
    """Outcomes of one checkpoint."""
    folder = config.output / "rollouts" / task / arm.folder / f"seed_{seed}"
    return folder / f"step_{step:06d}.json"


def roll_out_checkpoints(config: StudyConfig, task: str, arm: Arm, seed: int, run: Path) -> None:
    """Roll out every checkpoint of a run that has fewer rollouts than wanted."""
    for step, count in config.rolled_out.items():
        file = rollouts_file(config, task, arm, seed, step)
        trials = read_trials(file)
        if len(trials) >= count:
            continue
        starts = range(ROLLOUT_STARTS + seed * SEED_STRIDE + len(trials), _end(seed, count))
        trials += [*_roll_out(config, task, run / f"step_{step:06d}", starts)]
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(
            file, json.dumps([dataclasses.asdict(trial) for trial in trials], indent=0) + "\n"
        )


def _end(seed: int, count: int) -> int:
    return ROLLOUT_STARTS + seed * SEED_STRIDE + count


def _roll_out(config: StudyConfig, task: str, checkpoint: Path, starts: range) -> Iterator[Trial]:
    cell = load_cell(hardware="sim")
    policy = load_policy(checkpoint, cell)
    # Images of the demonstrations' size: the policy fits them as its training did.
    env = CellEnv(task, cell, cameras=policy.config.cameras)
    for start in starts:
        execute = min(ticks_in(EXECUTED_IN_STUDIES, cell.tick_rate), policy.horizon)
        yield roll_out(env, policy, start, limit=config.limit, execute=execute)
    env.close()


def read_trials(file: Path) -> list[Trial]:
    """Outcomes on disk; none when the file is not there."""
    if not file.is_file():
        return []
    try:
        return [Trial(**entry) for entry in json.loads(file.read_text())]
    except UNREADABLE as error:
        remedy = "remove it, and the rollouts are made again"
        raise TrainingError(f"{file} holds no rollouts ({error!r}): {remedy}") from None


def _train(command: Callable[[Config], int], config: Config) -> Path:
    """Run a training command unless its last checkpoint is there; go on with one that stopped."""
    last = config.output / LATEST
    if last.resolve().name == f"step_{config.steps:06d}":
        return config.output
    if command(dataclasses.replace(config, resume=last.exists())) != 0:
        raise KeyboardInterrupt
    return config.output
