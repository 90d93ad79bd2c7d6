"""What studies share: stages that are kept, and a mean with its interval in words."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ate_core.contract import load_cell
from ate_policy.models.entry import PolicyOptions
from ate_sim.embodiments import collect_fast
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.data.episode_file import write_episode
from training.evaluation.intervals import FEWEST_RUNS, mean_interval
from training.finetune import finetune
from training.studies.stages import as_episode

DONE = "done"
"""Empty file in a folder that is whole."""


def record(folder: Path, task: str, first: int, count: int, cameras: tuple[str, ...] = ()) -> Path:
    """Episodes of a task in which the expert succeeds, from a start on."""
    if (folder / DONE).is_file():
        return folder
    cell, made, start = load_cell(hardware="sim"), 0, first
    while made < count:
        [episode] = collect_fast(task, [start], cameras=cameras)
        start += 1
        if episode.success:
            write_episode(folder / f"episode_{made:06d}.hdf5", as_episode(episode, cell))
            made += 1
    (folder / DONE).touch()
    return folder


def run_stage(command: Any, config: Any) -> None:
    """A training command, unless it is done; one that stopped goes on."""
    last = config.output / "last"
    if last.resolve().name == f"step_{config.steps:06d}":
        return
    if command(dataclasses.replace(config, resume=last.exists())) != 0:
        raise SystemExit(130)


def learn(
    output: Path,
    episodes: Path,
    steps: int,
    policy: PolicyOptions,
    *,
    seed: int,
    batch: int,
    **settings: Any,
) -> Path:
    """A policy that has learned episodes, saved after its last step alone; returns its folder."""
    config = FinetuneConfig(
        episodes=episodes,
        output=output,
        steps=steps,
        save_every=max(steps, 1),
        seed=seed,
        optim=OptimOptions(batch=batch),
        policy=policy,
        **settings,
    )
    run_stage(finetune, config)
    return output


def mean_words(values: Sequence[float]) -> str:
    """A mean with Student's interval, where there are runs enough for one."""
    mean = float(np.mean(values)) if values else math.nan
    interval = mean_interval(values, FEWEST_RUNS)
    return f"{mean:+.1f}" + (f" ({interval[0]:+.1f} to {interval[1]:+.1f})" if interval else "")
