"""`ate study`: plain against guided fine-tuning over seeds, paired throughout, with a report."""

import dataclasses
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from rich.console import Console

from ate_core.errors import UsageError
from training.configs.study import GROWS, HOW_TO_RUN, Arm, StudyConfig
from training.folders import make_folder
from training.study_report import write_report
from training.study_stages import (
    pretrain_policy,
    record_demonstrations,
    roll_out_checkpoints,
    train_aligned,
    train_policy,
    train_prior,
)

Job = Callable[[], object]


def study(config: StudyConfig) -> int:
    """Run what is missing of a study, then write its table and figure."""
    make_folder(config.output)
    _remember(config)
    if not config.report_only:
        run_jobs(shared_jobs(config), config.jobs, "prior and pre-training")
        run_jobs(seed_jobs(config), config.jobs, "demonstrations and action VAE")
        run_jobs(arm_jobs(config), config.jobs, "fine-tuning and rollouts")
    for line in write_report(config):
        print(line)
    return 0


def shared_jobs(config: StudyConfig) -> dict[str, Job]:
    """What all seeds share."""
    jobs: dict[str, Job] = {}
    if any(arm.mode != "none" for arm in config.arms):
        jobs["action VAE, stage 1"] = partial(train_prior, config)
    for task in config.pretrained:
        jobs[f"pre-training for {task}"] = partial(pretrain_policy, config, task)
    return jobs


def seed_jobs(config: StudyConfig) -> dict[str, Job]:
    """What the arms of one seed share."""
    return {
        f"{task} {seed}": partial(_prepare_seed, config, task, seed)
        for seed in range(config.seeds)
        for task in config.tasks
    }


def arm_jobs(config: StudyConfig) -> dict[str, Job]:
    """Training and rollouts of every arm; whole seeds come first, so that a part is a study."""
    return {
        f"{task} {arm.name} {seed}": partial(_run_arm, config, task, arm, seed)
        for seed in range(config.seeds)
        for task in config.tasks
        for arm in config.arms
    }


def _prepare_seed(config: StudyConfig, task: str, seed: int) -> None:
    record_demonstrations(config, task, seed)
    guided = [arm for arm in config.arms if arm.mode != "none"]
    for untrained in {arm.untrained for arm in guided}:
        train_aligned(config, task, seed, untrained=untrained)


def _run_arm(config: StudyConfig, task: str, arm: Arm, seed: int) -> None:
    run = train_policy(config, task, arm, seed)
    roll_out_checkpoints(config, task, arm, seed, run)


def run_jobs(jobs: dict[str, Job], processes: int, label: str) -> None:
    """Run jobs, several at a time in processes of their own.

    Args:
        jobs: by name; they do not depend on each other.
        processes: how many at a time; 1 runs them here.
        label: for people.
    """
    console, count = Console(), len(jobs)
    if processes == 1:
        for number, (name, job) in enumerate(jobs.items(), start=1):
            job()
            console.print(f"{label}: {name} ({number}/{count})", highlight=False)
        return
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_be_quiet
    ) as pool:
        try:
            futures = {pool.submit(job): name for name, job in jobs.items()}
            for number, future in enumerate(as_completed(futures), start=1):
                future.result()
                console.print(f"{label}: {futures[future]} ({number}/{count})", highlight=False)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()  # training saves a checkpoint, rollouts are repeated
            raise


def _be_quiet() -> None:
    """Several progress bars would write over each other."""
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  lives as long as the process


def _remember(config: StudyConfig) -> None:
    """Keep the settings, and refuse to go on with others that would change finished stages."""
    file = config.output / "study.json"
    plain = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    plain = {key: value for key, value in plain.items() if key not in HOW_TO_RUN}
    if file.is_file():
        stored = json.loads(file.read_text())
        differing = _differing(stored, plain)
        if differing:
            raise UsageError(
                f"{config.output} holds a study with other settings: {'; '.join(differing)}. Go "
                "on with the same ones, or choose another output"
            )
    elif any(config.output.iterdir()):
        raise UsageError(f"{config.output} is not empty and no study: choose another output")
    file.write_text(json.dumps(plain, indent=2) + "\n")


def _differing(stored: dict, wanted: dict) -> Sequence[str]:
    return [
        f"{key}: {wanted.get(key)} (was {stored.get(key)})"
        for key in sorted(set(stored) | set(wanted))
        if key not in GROWS and stored.get(key) != wanted.get(key)
    ]
