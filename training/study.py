"""`ate study`: plain against guided fine-tuning over seeds, paired throughout, with a report."""

import dataclasses
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path

import torch

from ate_core.contract import load_cell
from ate_core.errors import UsageError
from ate_core.json_text import read_object
from ate_policy.chunking import usual_horizon
from ate_sim.embodiments import bodies_of
from ate_sim.tasks import load_task
from training.configs.old_words import study_with_todays_words
from training.configs.output_folder import make_folder, only_writer
from training.configs.record import Record, complete, differences
from training.configs.study import GROWS, HOW_TO_RUN, PRETRAINING, Arm, StudyConfig
from training.loop.policies import config_for
from training.studies.report import write_report
from training.studies.stages import (
    pretrain_policy,
    record_demonstrations,
    roll_out_checkpoints,
    train_aligned,
    train_policy,
    train_prior,
)

PRIOR = "action VAE, stage 1"
"""Name of the job that all arms with an action VAE need."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A part of the study that one process does."""

    run: Callable[[], object]
    """Does what is missing of it."""
    needs: tuple[str, ...] = ()
    """Names of the jobs that come before."""


def study(config: StudyConfig) -> int:
    """Run what is missing of a study, then write its table and figure."""
    open_study(config)
    if not config.report_only:
        with only_writer(config.output, f"another study writes to {config.output}"):
            run_jobs(make_jobs(config), config.jobs, config.threads)
    for line in write_report(config):
        print(line)
    return 0


def open_study(config: StudyConfig) -> None:
    """Refuse what cannot run, and make or take up the study's folder."""
    _check_names(config)
    _check_network(config)
    _check_pretraining(config)
    make_folder(config.output)
    _remember(config)


def _check_names(config: StudyConfig) -> None:
    """Refuse tasks and bodies that do not exist before anything is trained."""
    for task in (*config.tasks, *config.pretraining_tasks):
        load_task(task)
    known = bodies_of()
    for body in config.pretraining_bodies:
        if body not in known:
            raise UsageError(f"body is {body!r}; use some of {', '.join(known)}")


def _check_network(config: StudyConfig) -> None:
    """Refuse options that the network would not read, before demonstrations are made."""
    cell = load_cell(hardware="sim")
    horizon = usual_horizon(cell.tick_rate)
    for task in config.tasks:
        objects = 0 if config.variant == "vision" else len(load_task(task).object_names)
        config_for(dataclasses.replace(config.finetuning, horizon=horizon), cell, objects)


def _stored(file: Path, config: StudyConfig) -> Record:
    """The settings of a study that was begun, in today's words."""
    stored = read_object(file, UsageError, "choose the folder of another study")
    return complete(study_with_todays_words(stored), config)


def _check_pretraining(config: StudyConfig) -> None:
    """Refuse the pre-training of a study that made it in another way."""
    if config.pretraining_from is None:
        return
    file = config.pretraining_from / "study.json"
    if not file.is_file():
        raise UsageError(f"{config.pretraining_from} is no study: give the folder of one")
    stored = _stored(file, config)
    differing = [
        line
        for key, line in differences(stored, config.record())
        if key.split(".")[0] in PRETRAINING
    ]
    if differing:
        raise UsageError(
            f"{config.pretraining_from} pre-trained in another way: {'; '.join(differing)}. Give "
            "the same settings, or leave --pretraining-from out"
        )


def make_jobs(config: StudyConfig) -> dict[str, Job]:
    """All jobs by name, each behind what it needs; whole seeds come first."""
    jobs = {}
    if any(arm.steered for arm in config.arms):
        jobs[PRIOR] = Job(run=partial(train_prior, config))
    for task in config.pretrained:
        jobs[pretraining_job(task)] = Job(run=partial(pretrain_policy, config, task))
    for seed in config.training_seeds:
        for task in config.tasks:
            jobs |= _jobs_of_seed(config, task, seed)
    return jobs


def _jobs_of_seed(config: StudyConfig, task: str, seed: int) -> dict[str, Job]:
    demonstrations = f"{task}, seed {seed}: demonstrations"
    jobs = {demonstrations: Job(run=partial(record_demonstrations, config, task, seed))}
    before = [demonstrations]
    if task in config.pretrained:
        before.append(pretraining_job(task))
    normalised = before if config.statistics == "init" else before[:1]
    for variant in sorted({arm.vae for arm in config.arms if arm.steered}):
        jobs[vae_job(task, seed, variant)] = Job(
            run=partial(train_aligned, config, task, seed, variant),
            needs=(*normalised, PRIOR),
        )
    for arm in config.arms:
        guided = (vae_job(task, seed, arm.vae),) if arm.steered else ()
        jobs[arm_job(task, seed, arm)] = Job(
            run=partial(_run_arm, config, task, arm, seed), needs=(*before, *guided)
        )
    return jobs


def pretraining_job(task: str) -> str:
    """Name of the job that trains the policy from which that of a task starts."""
    return f"{task}: pre-training"


def arm_job(task: str, seed: int, arm: Arm) -> str:
    """Name of the job that trains and rolls out one arm."""
    return f"{task}, seed {seed}: {arm.name}"


def vae_job(task: str, seed: int, variant: str) -> str:
    """Name of the job that trains stage 2 of the action VAE, or a variant of it."""
    return f"{task}, seed {seed}: action VAE {variant}".rstrip()


def only(jobs: Mapping[str, Job], wanted: Collection[str]) -> dict[str, Job]:
    """Some jobs and all that they need, in the order of all."""
    chosen, left = set[str](), list(wanted)
    while left:
        name = left.pop()
        if name not in chosen:
            chosen.add(name)
            left.extend(jobs[name].needs)
    return {name: job for name, job in jobs.items() if name in chosen}


def _run_arm(config: StudyConfig, task: str, arm: Arm, seed: int) -> None:
    run = train_policy(config, task, arm, seed)
    roll_out_checkpoints(config, task, arm, seed, run)


def run_jobs(jobs: Mapping[str, Job], processes: int, threads: int) -> None:
    """Run jobs, several at a time in processes of their own.

    Args:
        jobs: by name, each behind what it needs.
        processes: how many at a time; 1 runs them here.
        threads: CPU threads of each, of jobs too that train nothing any more; with more than
            there are cores they wait for one another most of the time.
    """
    if processes == 1:
        torch.set_num_threads(threads)
        for number, (name, job) in enumerate(jobs.items(), start=1):
            job.run()
            _report(name, number, len(jobs))
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=_begin, initargs=(threads,)) as pool:
        try:
            _run_in_pool(jobs, pool)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()  # training saves a checkpoint, rollouts are repeated
            raise


def _run_in_pool(jobs: Mapping[str, Job], pool: ProcessPoolExecutor) -> None:
    waiting = dict(jobs)
    done: set[str] = set()
    running: dict[Future[object], str] = {}
    while waiting or running:
        for name in [name for name, job in waiting.items() if done.issuperset(job.needs)]:
            running[pool.submit(waiting.pop(name).run)] = name
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            future.result()
            name = running.pop(future)
            done.add(name)
            _report(name, len(done), len(jobs))


def _report(name: str, number: int, count: int) -> None:
    print(f"{number}/{count}  {name}", flush=True)


def _begin(threads: int) -> None:
    """Make a process ready: several progress bars would write over each other."""
    torch.set_num_threads(threads)
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  lives as long as the process


def _remember(config: StudyConfig) -> None:
    """Keep the settings, and refuse to go on with others that would change finished stages."""
    file = config.output / "study.json"
    record = {key: value for key, value in config.record().items() if key not in HOW_TO_RUN}
    if file.is_file():
        stored = _stored(file, config)
        ignored = {*GROWS, *HOW_TO_RUN}
        differing = [line for key, line in differences(stored, record) if key not in ignored]
        if differing:
            raise UsageError(
                f"{config.output} holds a study with other settings: {'; '.join(differing)}. Go "
                "on with the same ones, or choose another output"
            )
    elif any(config.output.iterdir()):
        raise UsageError(f"{config.output} is not empty and no study: choose another output")
    if not config.report_only:
        file.write_text(json.dumps(record, indent=2) + "\n")
